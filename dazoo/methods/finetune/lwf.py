"""LwF: learning without forgetting; the old head keeps its answers on new data. Li, Hoiem, ECCV 2016.

    min_{F,C,C_o}  1/n_f sum_i loss(C(F(x_i)), y_i) + trade_off * 1/b sum_i H(q_i, softmax(C_o(F(x_i)) / temperature))
    q_i = softmax(C_o^0(F^0(x_i)) / temperature)   (C,)

F^0, C_o^0 are body and head of the source model; C_o starts from C_o^0, C is new; H is the cross-entropy.

Evidence: tests/test_finetune.py (equals a transcription; least where the old head's answers are kept).
"""

from __future__ import annotations

import copy

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.perturb import soft_cross_entropy


@register
class LwF(FineTune):
    """Learning without forgetting."""

    paper = Paper(
        title="Learning without Forgetting",
        authors="Zhizhong Li, Derek Hoiem",
        year=2016, url="https://arxiv.org/abs/1606.09282",
        venue="ECCV",
        deviations="the new task is the target with the same classes; no warm-up of the new head alone",
    )  # fmt: skip
    targets = frozenset({"classes"})
    # the old head starts where its gradient is zero: Adam blows up the rounding in which alone and stacked differ
    stackable = False

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the old answers")
    temperature: float = hp(2.0, 1.0, 5.0, help="softens answers", positive=True)
    new_head: bool = hp(True, choices=(False, True), help="initialise the head of the new task anew")

    def setup(self, net: Net) -> None:
        net.add_module("origin", Twin(net))
        net.add_module("source_head", copy.deepcopy(net.head))
        super().setup(net)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        f = net.body(b.xf)
        old = (net.origin(b.xf)[0] / self.temperature).softmax(-1)
        return {
            "cls": net.criterion(net.head(f), b.yf),
            "old": self.trade_off * soft_cross_entropy(net.source_head(f) / self.temperature, old),
        }
