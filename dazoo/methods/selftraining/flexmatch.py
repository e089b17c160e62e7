"""FlexMatch: FixMatch with a threshold per class that follows what has been learned. Zhang et al., NeurIPS 2021.

    min_{F,C}  CE(C(F(x_s)), y_s)
               + trade_off * 1/b sum_i 1[max q_i >= T(argmax q_i)] CE(C(F(strong(x_t,i))), argmax q_i)
    q_i = stop(softmax(C(F(x_t,i)))) (C,),   T(c) = threshold / (2 - B(c)),
    B(c) = n_c / max(max_k n_k, n_none)

n_c counts the target samples whose latest prediction is c with a confidence of at least ``threshold``, n_none those
without such a prediction (0 without ``warm_up``). The paper's T(c) = threshold * B(c) / (2 - B(c)), which is
``mapping="paper"``, starts at 0, where every guess of the untrained network is a label: its million steps outlive that,
a run of some hundred does not. 1 / (2 - B), the mean of 1 and B / (2 - B), starts at one half.

Counts come from a full pass per epoch; after each step the batch's samples are renewed.

Evidence: tests/test_selftraining_labels.py (thresholds and loss equal a transcription in loops; the latest
predictions).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import flexible_thresholds, hard_cross_entropy


@register
class FlexMatch(GradientMethod):
    """Curriculum pseudo-labelling."""

    paper = Paper(
        title="FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling",
        authors="Bowen Zhang, Yidong Wang, Wenxin Hou, Hao Wu, Jindong Wang, Manabu Okumura, Takahiro Shinozaki",
        year=2021, url="https://arxiv.org/abs/2110.08263",
        venue="NeurIPS",
        deviations="thresholds start at one half, since runs are short (the paper: at 0); as many target as source "
        "samples per batch (the paper: 7 to 1); no average of the weights; a full pass per epoch renews the counts",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    stackable = False
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.42}
    knob_needs: ClassVar[dict[str, dict[str, Any]]] = {"threshold": {"warm_up": False}, "mapping": {"threshold": 0.9}}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    threshold: float = hp(0.95, 0.5, 0.99, help="least confidence of a pseudo-label of the best learned class")
    mapping: str = hp(
        "half", choices=("half", "paper"), help="thresholds start at one half of threshold, or as in the paper at 0"
    )
    warm_up: bool = hp(True, choices=(False, True), help="samples without a confident prediction lower the thresholds")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"latest": self._latest(look.target[1])}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        top, y = weak.detach().softmax(-1).max(-1)
        share = flexible_thresholds(b.memory["latest"], weak.shape[-1], self.warm_up)
        least = self.threshold * (share if self.mapping == "paper" else (1 + share) / 2)
        mask = (top >= least.to(top)[y]).to(top.dtype)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": self.trade_off * hard_cross_entropy(strong, y, mask),
        }

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        b.memory["latest"][b.t_rows] = self._latest(net.head(net.body(b.xt)))

    def _latest(self, scores: Tensor) -> Tensor:
        """Confident classes (n,), -1 for none."""
        top, y = scores.softmax(-1).max(-1)
        return torch.where(top >= self.threshold, y, -1)
