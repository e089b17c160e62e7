"""Deep CORAL: match the covariances of the domains. Sun, Saenko, ECCV workshops 2016.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * ||Cov(h(x_s)) - Cov(h(x_t))||_F^2 / (4 d^2)

with h the features F (b, d) or, as in the paper, the scores C(F) (b, C).

Evidence: tests/test_ops_formulas.py (transcription), tests/test_ops_limits.py (zero at equality).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.moments import coral


@register
class DeepCORAL(GradientMethod):
    """Correlation alignment inside the network."""

    paper = Paper(
        title="Deep CORAL: Correlation Alignment for Deep Domain Adaptation",
        authors="Baochen Sun, Kate Saenko",
        year=2016,
        url="https://arxiv.org/abs/1607.01719", venue="ECCV Workshops",
        deviations="aligns the features by default; layer='scores' aligns the last layer as the paper does; the weight "
        "is ours, where the paper sets it so that both losses end alike",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(100.0, 1.0, 1000.0, log=True, help="weight of the covariance distance")
    layer: str = hp("features", choices=("features", "scores"), help="which layer's covariances are matched")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        aligned = coral(fs, ft) if self.layer == "features" else coral(ls, net.head(ft))
        return {"cls": net.criterion(ls, b.ys), "coral": self.trade_off * aligned}
