"""RSD: turn the domains' feature subspaces onto each other, for regression. Chen, Wang, Wang, Long, ICML 2021.

    min_{F,C}  |C(f_s) - y_s|^2 / b + trade_off * [sum_i sin theta_i + base_weight * | |P_s| - |P_t| |_F]
    U_s, U_t: left singular vectors of f_s', f_t';   P_s diag(cos theta) P_t' = U_s' U_t

f = F(x) (b, width). The angles leave alone the features' scale, which a regressor, unlike a classifier, rests on; the
second term keeps bases of the same order of importance together.

Evidence: tests/test_parity.py (rsd), tests/test_moment_structure.py (test_rsd_sees_angles_alone, test_rsd_terms).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.norms import rsd
from dazoo.ops.precision import full_precision, widened


@register
class RSD(GradientMethod):
    """Representation subspace distance."""

    paper = Paper(
        title="Representation Subspace Distance for Domain Adaptation Regression",
        authors="Xinyang Chen, Sinan Wang, Jianmin Wang, Mingsheng Long",
        year=2021, url="https://proceedings.mlr.press/v139/chen21u.html", venue="ICML",
        deviations="where a batch is larger than half the width, only the leading width / 2 directions are compared: "
        "larger subspaces meet by dimension alone",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"values"})
    stackable: ClassVar[bool] = False  # gradients of near-equal singular values hang on rounding

    trade_off: float = hp(0.001, 1e-4, 0.1, log=True, help="weight of the subspace distance")
    base_weight: float = hp(0.1, 0.01, 1.0, log=True, help="share of the base mismatch in the distance")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        with full_precision(fs):
            distance = rsd(widened(fs), widened(ft), self.base_weight)
        return {"cls": net.criterion(net.head(fs), b.ys), "rsd": self.trade_off * distance}
