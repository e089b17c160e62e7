"""FBNM: batch nuclear-norm maximisation without a decomposition. Cui et al., 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) - trade_off * 1/b * (sum of the min(b, C) largest |P_c|_2)
    P = softmax(C(F(x_t))) (b, C) with columns P_c; the column norms stand in for the singular values

Evidence: tests/test_selftraining.py (equals a transcription; largest for balanced one-hot predictions).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.entropy import fbnm as nuclear_loss


@register
class FastBNM(GradientMethod):
    """Fast batch nuclear-norm maximisation."""

    paper = Paper(
        title="Fast Batch Nuclear-norm Maximization and Minimization for Robust Domain Adaptation",
        authors="Shuhao Cui, Shuhui Wang, Junbao Zhuo, Liang Li, Qingming Huang, Qi Tian",
        year=2021, url="https://arxiv.org/abs/2107.06154", venue="arXiv",
        deviations="maximisation on the target only; the minimisation on the source is left out; divided by the batch "
        "size, in the authors' program by min(b, C)",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the nuclear norm")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "nuclear": self.trade_off * nuclear_loss(net.head(ft).softmax(-1)),
        }
