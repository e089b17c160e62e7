"""Co-Tuning: fine-tuning that keeps the source head busy. You, Kou, Long, Wang, NeurIPS 2020.

    min_{F,C,C_s}  1/n_f sum_i CE(C(F(x_i)), y_i) + trade_off * 1/b sum_i H(R[y_i], softmax(C_s(F(x_i))))
    R[y] = mean over labelled target samples of class y of softmax(C_s^0(F^0(x)))    (C, C), an estimate of p(y_s | y_t)

F^0, C_s^0 are body and head of the source model; C_s starts from C_s^0, C is new. H is the cross-entropy.

Evidence: tests/test_finetune.py (relation and loss equal transcriptions in loops).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.perturb import soft_cross_entropy
from dazoo.ops.transfer import label_relation


@register
class CoTuning(FineTune):
    """Learning from the relation of source and target classes."""

    paper = Paper(
        title="Co-Tuning for Transfer Learning",
        authors="Kaichao You, Zhi Kou, Mingsheng Long, Jianmin Wang",
        year=2020,
        url="https://proceedings.neurips.cc/paper/2020/hash/c8067ad1937f728f51288b3eb986afaa-Abstract.html",
        venue="NeurIPS",
        deviations="the relation is the direct one (mean predictions), without calibration on source data; source and "
        "target classes are the same here, so it says which classes the shift confuses",
    )  # fmt: skip
    targets = frozenset({"classes"})

    trade_off: float = hp(2.3, 0.2, 10.0, log=True, help="weight of the source head")
    new_head: bool = hp(True, choices=(False, True), help="initialise the target head anew")

    def setup(self, net: Net) -> None:
        net.add_module("origin", Twin(net))
        net.add_module("source_head", copy.deepcopy(net.head))
        super().setup(net)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        kept = net.origin.kept
        if "relation" not in kept:
            p = torch.cat([net.origin(x)[0].softmax(-1) for x in look.inputs("few")])
            kept["relation"] = label_relation(p, look.yf, p.shape[-1])
        return {"relation": kept["relation"]}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        f = net.body(b.xf)
        return {
            "cls": net.criterion(net.head(f), b.yf),
            "source": self.trade_off * soft_cross_entropy(net.source_head(f), b.memory["relation"][b.yf]),
        }
