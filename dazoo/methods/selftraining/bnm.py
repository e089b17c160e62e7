"""BNM: batch nuclear-norm maximisation on the target. Cui et al., CVPR 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) - trade_off * |P|_* / b
    P = softmax(C(F(x_t))) (b, C),  |P|_* the sum of its singular values

Evidence: tests/test_selftraining.py (equals a transcription; largest for balanced one-hot predictions).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import bnm as nuclear_loss


@register
class BNM(GradientMethod):
    """Batch nuclear-norm maximisation."""

    paper = Paper(
        title="Towards Discriminability and Diversity: Batch Nuclear-norm Maximization under Label Insufficient "
        "Situations",
        authors="Shuhao Cui, Shuhui Wang, Junbao Zhuo, Liang Li, Qingming Huang, Qi Tian",
        year=2020, url="https://arxiv.org/abs/2003.12237", venue="CVPR",
        deviations="the nuclear norm is divided by the batch size as in the paper, in the authors' program by the "
        "number min(b, C) of singular values",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the nuclear norm")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "nuclear": self.trade_off * nuclear_loss(net.head(ft).softmax(-1)),
        }
