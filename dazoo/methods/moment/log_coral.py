"""Log-CORAL (MECA): match covariances along geodesics. Morerio, Cavazza, Murino, ICLR 2018.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * |log C_s - log C_t|_F^2 / (4 d^2)

C_s, C_t (d, d) are the covariances of the features F (b, d) or of the scores, with a ridge that keeps the logarithm
finite where a batch is smaller than d. The paper then chooses trade_off by the mean entropy of target predictions,
which is minimal at the best alignment; here that choice belongs to the validators (``entropy``).

Evidence: tests/test_moment.py (test_log_coral_compares_matrix_logarithms, test_log_coral_ignores_rotations_of_both,
test_log_coral_from_inner_products_is_that_of_all_features).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.moments import log_coral
from dazoo.ops.precision import full_precision, widened


@register
class LogCORAL(GradientMethod):
    """Minimal-entropy correlation alignment."""

    paper = Paper(
        title="Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain Adaptation",
        authors="Pietro Morerio, Jacopo Cavazza, Vittorio Murino", year=2018,
        url="https://arxiv.org/abs/1711.10288", venue="ICLR",
        deviations="aligns the features by default (layer='scores' as in the paper), with a ridge of 1e-3 of the mean "
        "variance; the entropy that selects the weight in the paper is left to validators",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    revision = 1
    stackable: ClassVar[bool] = False  # eigenvalues of a small batch nearly coincide, and rounding decides their branch

    trade_off: float = hp(10.0, 0.1, 100.0, log=True, help="weight of the log-Euclidean distance")
    layer: str = hp("features", choices=("features", "scores"), help="which layer's covariances are matched")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        zs, zt = (fs, ft) if self.layer == "features" else (ls, net.head(ft))
        with full_precision(zs):
            distance = log_coral(widened(zs), widened(zt))
        return {
            "cls": net.criterion(ls, b.ys),
            "logcoral": self.trade_off * distance,
        }
