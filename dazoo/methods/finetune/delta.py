"""DELTA: fine-tuning that keeps the features which matter. Li, Xiong, Wang, Rao, Liu, Huan, ICLR 2019.

    min_theta  1/n_f sum_i loss(C(F(x_i)), y_i) + trade_off * 1/b sum_i sum_j a_j (F_j(x_i) - F_j^0(x_i))^2
    a_j = softmax_j( mean_i [loss(C^0(F^0(x_i) without entry j), y_i) - loss(C^0(F^0(x_i)), y_i)] )   (width,)

F^0, C^0 are body and head of the source model; a is computed once, over the labelled target samples (x_i, y_i).

Evidence: tests/test_finetune.py (attention and penalty equal transcriptions in loops; weight 0 is fine_tune).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Look, Progress, register
from dazoo.methods.finetune.fine_tune import FineTune
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin
from dazoo.ops.transfer import channel_attention


@register
class DELTA(FineTune):
    """Feature map regularisation with attention."""

    paper = Paper(
        title="DELTA: DEep Learning Transfer using Feature Map with Attention for Convolutional Networks",
        authors="Xingjian Li, Haoyi Xiong, Hanchao Wang, Yuxuan Rao, Liping Liu, Zeyu Chen, Jun Huan",
        year=2019, url="https://arxiv.org/abs/1901.09229", venue="ICLR",
        deviations="one layer, the features before the head, in place of the maps of several blocks; the attention "
        "uses the source model's head, which knows the same classes, in place of one fitted first; no head decay",
    )  # fmt: skip
    targets = frozenset({"classes"})

    trade_off: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the distance of features")

    def setup(self, net: Net) -> None:
        net.add_module("origin", Twin(net))
        super().setup(net)

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        kept, head = net.origin.kept, net.origin.head
        if "attention" not in kept:
            f = torch.cat([net.origin(x)[1] for x in look.inputs("few")])
            kept["attention"] = channel_attention(f, head.weight, head.bias, look.yf)
        return {"attention": kept["attention"]}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        f, old = net.body(b.xf), net.origin(b.xf)[1]
        moved = (b.memory["attention"] * (f - old).square()).sum(-1).mean()
        return {"cls": net.criterion(net.head(f), b.yf), "features": self.trade_off * moved}
