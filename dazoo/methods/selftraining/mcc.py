"""MCC: minimise the class confusion of target predictions. Jin, Wang, Long, Wang, ECCV 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * (1/C) sum_{j != k} N_jk
    P = softmax(C(F(x_t)) / temperature) (b, C),  w_i proportional to 1 + exp(-H(P_i)),  M = P' diag(w) P,
    N = M with rows scaled to sum 1

pytorch-adapt calls the same loss "class confusion loss"; ``cc_loss`` adds a consistency term.

Evidence: tests/test_parity.py (mcc_T2.5), tests/test_ops_limits.py.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import mcc


@register
class MCC(GradientMethod):
    """Minimum class confusion."""

    paper = Paper(
        title="Minimum Class Confusion for Versatile Domain Adaptation",
        authors="Ying Jin, Ximei Wang, Mingsheng Long, Jianmin Wang",
        year=2020,
        url="https://arxiv.org/abs/1912.03699", venue="ECCV",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the confusion")
    temperature: float = hp(2.5, 1.0, 5.0, help="softens target predictions", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "mcc": self.trade_off * mcc(net.head(ft), self.temperature),
        }
