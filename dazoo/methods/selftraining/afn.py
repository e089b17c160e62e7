"""SAFN: features of both domains with stepwise larger norms. Xu, Li, Yang, Lin, ICCV 2019.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * [L(F(x_s)) + L(F(x_t))]
    L(f) = 1/b sum_i (|f_i| - stop(|f_i| + delta))^2,  f (b, width)

The value of L is always delta^2; its gradient lengthens every feature by the same step.

Evidence: tests/test_parity.py (afn_delta1), tests/test_selftraining.py (direction and size of the gradient).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.norms import afn


@register
class AFN(GradientMethod):
    """Stepwise adaptive feature norm."""

    paper = Paper(
        title="Larger Norm More Transferable: An Adaptive Feature Norm Approach for Unsupervised Domain Adaptation",
        authors="Ruijia Xu, Guanbin Li, Jihan Yang, Liang Lin",
        year=2019, url="https://arxiv.org/abs/1811.07456", venue="ICCV",
        deviations="the recipe's bottleneck in place of the paper's 1000-wide one with its rescaled dropout; without "
        "the optional entropy term; in a network without normalisation or weight decay nothing bounds the norms, and "
        "Adam lets them run away: no gain at the defaults there (prefer a recipe with norm='batch')",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.05, 0.005, 0.5, log=True, help="weight of the feature norms")
    delta: float = hp(1.0, 0.1, 5.0, log=True, help="step by which norms grow")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "norm": self.trade_off * (afn(fs, self.delta) + afn(ft, self.delta)),
        }
