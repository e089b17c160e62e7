"""The step that ROID and CMF share: a loss of sure samples of classes seen seldom, agreement with a view, and answers
corrected by the batch's class shares. They differ in what becomes of the weights after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState
from dazoo.methods.test_time._moves import MovesNorms, at_start, descend, moving
from dazoo.ops.test_time import certain_and_diverse, soft_likelihood_ratio, symmetric_cross_entropy


@dataclass(frozen=True, kw_only=True)
class SureAndSeldom(MovesNorms):
    """Minimises 1/b sum_i w_i [ SLR(x_i) + consistency SCE(view(x_i), x_i) ], then settles the weights."""

    still: ClassVar[dict[str, Any] | None] = {"lr": 0.0, "correct": False}

    temperature: float = hp(1 / 3, 0.1, 1.0, log=True, help="of the weights of samples", positive=True)
    consistency: float = hp(1.0, 0.1, 10.0, log=True, help="weight of agreement with a view")
    correct: bool = hp(True, help="whether class shares of the batch correct its answers")

    def settle(self, theta: list[Tensor], source: list[Tensor], state: StreamState) -> None:
        """What becomes of the moving parameters after the step; ``source`` are the source's."""

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        source, out = at_start(state), self.answer(net, x)
        n_classes = out.scores.shape[1]
        mean = state.memory.get("mean", out.scores.new_full((n_classes,), 1.0 / n_classes))
        weights = certain_and_diverse(out.scores, mean, self.temperature)
        state.memory["mean"] = 0.9 * mean + 0.1 * out.scores.detach().softmax(-1).mean(0)
        agreed = symmetric_cross_entropy(self.answer(net, state.view()).scores, out.scores)
        descend(state, (weights * (soft_likelihood_ratio(out.scores) + self.consistency * agreed)).mean())
        with torch.no_grad():
            self.settle(moving(state), source, state)
        return Prediction(shares_corrected(out.scores), out.features) if self.correct else out


def shares_corrected(scores: Tensor) -> Tensor:
    """Scores (n, C) whose softmax are probabilities times smoothed shares of the batch, up to a factor per row."""
    n, n_classes = scores.shape
    share = scores.detach().softmax(-1).mean(0)
    smooth = max(1.0 / n, 1.0 / n_classes) / share.max()
    return scores.log_softmax(-1) + torch.log((share + smooth) / (1.0 + smooth * n_classes))
