"""SWAD: average the weights of all steps inside the valley of the validation loss. Cha et al., NeurIPS 2021.

    min_{F,C}  1/M sum_m CE(C(F(x^m)), y^m);   prediction by  theta = mean of the weights after steps t_s .. t_e

Once per pass over the sources the loss l on held-out source rows is taken. The valley begins at the first l_i that is
the least of l_i .. l_{i + converge - 1}; it ends where none of ``tolerate`` losses in a row is within the limit, 1 +
ratio times the mean of those that began it. Before it begins, the mean of the last pass predicts. theta (p,) are
parameters and moving statistics of body and head. Without held-out rows the training rows give the loss.

Evidence: tests/test_generalisation.py (start, end and average equal a transcription of the paper's rule).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.generalisation import _valley as valley
from dazoo.methods.generalisation._sources import AnySources
from dazoo.nets.net import Net


@register
class SWAD(AnySources):
    """Stochastic weight averaging, densely and aware of overfitting."""

    paper = Paper(
        title="SWAD: Domain Generalization by Seeking Flat Minima",
        authors=(
            "Junbum Cha, Sanghyuk Chun, Kyungjae Lee, Han-Cheol Cho, Seunghyun Park, Yunsung Lee, Sungrae Park"
        ),
        year=2021, url="https://arxiv.org/abs/2102.08604", venue="NeurIPS",
        deviations="a loss per pass instead of every 50 to 300 steps; moving statistics of batch normalisation are "
        "averaged, not computed anew; it looks at held-out source rows, as in the paper, so that rules which score by "
        "them are not independent of it",
    )  # fmt: skip
    stackable = False

    converge: int = hp(3, help="losses among which the first is the least where the valley begins")
    tolerate: int = hp(6, help="losses in a row beyond the limit that end it")
    ratio: float = hp(0.3, help="by which a loss in the valley may exceed those at its start", least=0.0)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        state = dict(look.memory) or valley.begun(flat(net))
        if "passed" in state and bool(state["passed"] > 0):
            scores, y = look.held_out
            loss = functional.cross_entropy(scores, y)
            state |= valley.added(state, state["segment"], loss, self.converge, self.tolerate, self.ratio)
        zero = torch.zeros_like(state["total"])
        return {**state, "segment": zero, "passed": zero.new_zeros(())}

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        b.memory["passed"] += 1
        b.memory["segment"] += (flat(net) - b.memory["segment"]) / b.memory["passed"]

    def finish(self, net: Net, look: Look) -> None:
        mean = valley.average(look.memory) if look.memory else None
        if mean is None:
            return
        for value, part in zip(_values(net), mean.split([v.numel() for v in _values(net)])):
            value.copy_(part.view_as(value))


def _values(net: Net) -> list[Tensor]:
    return [v for p in (net.body, net.head) for v in p.state_dict().values() if v.is_floating_point()]


def flat(net: Net) -> Tensor:
    """Parameters and moving statistics of body and head as one vector (p,)."""
    return torch.cat([v.detach().reshape(-1) for v in _values(net)])
