"""L2-SP: fine-tuning with weight decay towards the starting point. Li, Grandvalet, Davoine, ICML 2018.

    min_theta  1/n_f sum_i loss(f_theta(x_i), y_i) + trade_off / 2 * |theta_S - theta_S^0|^2
                                                   + head_weight / 2 * |theta_N|^2

theta_S are the parameters that come from the source model with their values theta_S^0 there, theta_N the new ones: the
head, where ``new_head`` is set, else none (then the head belongs to theta_S and the last term is absent).

Evidence: tests/test_finetune.py (penalty and gradient equal transcriptions; weight 0 is fine_tune).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.transfer import squared_distance


@register
class L2SP(FineTune):
    """Decay towards the starting point."""

    paper = Paper(
        title="Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
        authors="Xuhong Li, Yves Grandvalet, Franck Davoine",
        year=2018, url="https://arxiv.org/abs/1802.01483", venue="ICML",
        deviations="the recipe's own weight decay, where it has one, stays on top",
    )  # fmt: skip
    knob_needs: ClassVar[dict[str, dict[str, Any]]] = {"head_weight": {"new_head": True}}

    trade_off: float = hp(0.1, 0.001, 1.0, log=True, help="decay towards the source model")
    head_weight: float = hp(0.01, 0.001, 1.0, log=True, help="decay of a new head towards zero")

    def setup(self, net: Net) -> None:
        super().setup(net)
        net.add_module("origin", Twin(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        here, there = list(net.body.parameters()), list(net.origin.body.parameters())
        if not self.new_head:
            here, there = here + list(net.head.parameters()), there + list(net.origin.head.parameters())
        terms = {**super().losses(net, b, t), "start": 0.5 * self.trade_off * squared_distance(here, there)}
        if self.new_head:
            size = squared_distance(net.head.parameters(), [0.0 * p for p in net.origin.head.parameters()])
            terms["head"] = 0.5 * self.head_weight * size
        return terms
