"""MMDA: match means in a kernel space and covariances at once. Rahman, Fookes, Baktashmotlagh, Sridharan, 2019.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * MMD^2_k(z_s, z_t) + coral_weight * |Cov(z_s) - Cov(z_t)|_F^2 / (4 d^2)

with z the features F (b, width) or, as in the paper, the scores C(F) (b, C), d their width, and k a sum of five
Gaussians around the mean squared distance.

Evidence: tests/test_moment.py (test_mmda_adds_kernel_means_and_covariances).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.mmd import mk_mmd
from dazoo.ops.moments import coral


@register
class MMDA(GradientMethod):
    """Minimum discrepancy estimation: MMD and CORAL together."""

    paper = Paper(
        title="On Minimum Discrepancy Estimation for Deep Domain Adaptation",
        authors="Mohammad Mahfujur Rahman, Clinton Fookes, Mahsa Baktashmotlagh, Sridha Sridharan", year=2019,
        url="https://arxiv.org/abs/1901.00282", venue="arXiv",
        deviations="aligns the features by default; layer='scores' aligns the last layer. Five Gaussians instead of "
        "one kernel; the weights are ours",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the MMD")
    coral_weight: float = hp(100.0, 1.0, 1000.0, log=True, help="weight of the covariance distance")
    layer: str = hp("features", choices=("features", "scores"), help="which layer is matched")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        zs, zt = (fs, ft) if self.layer == "features" else (ls, net.head(ft))
        return {
            "cls": net.criterion(ls, b.ys),
            "mmd": self.trade_off * mk_mmd(zs, zt),
            "coral": self.coral_weight * coral(zs, zt),
        }
