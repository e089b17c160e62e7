"""DARE-GRAM: align the inverse Gram matrices that a regressor rests on. Nejjar, Wang, Fink, CVPR 2023.

    min_{F,C}  |C(f_s) - y_s|^2 / b + trade_off * [angle_weight * mean_j |1 - cos(G_s^+[:, j], G_t^+[:, j])|
                                                   + scale_weight * |l_s[:k] - l_t[:k]| / k]
    G = A' A,  A = [1, f] (b, width + 1),  eigenvalues l_1 >= l_2 >= ...

f = F(x) (b, width). Pseudo-inverses keep the k leading eigenvalues, which make up ``threshold`` of the trace: least
squares solves G beta = A' y, so domains with equal G^+ ask for one regressor. The second term keeps the scale.

Evidence: tests/test_moment_structure.py (test_daregram_terms, test_daregram_is_zero_for_equal_batches).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.norms import daregram
from dazoo.ops.precision import full_precision, widened


@register
class DAREGRAM(GradientMethod):
    """Domain adaptation regression by aligning inverse Gram matrices."""

    paper = Paper(
        title="DARE-GRAM: Unsupervised Domain Adaptation Regression by Aligning Inverse Gram Matrices",
        authors="Ismail Nejjar, Qin Wang, Olga Fink", year=2023, url="https://arxiv.org/abs/2303.13325", venue="CVPR",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"values"})
    stackable: ClassVar[bool] = False  # the rank that is kept hangs on rounding

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of both alignment terms")
    angle_weight: float = hp(0.05, 0.005, 0.5, log=True, help="weight of the angles of the inverse Gram matrices")
    scale_weight: float = hp(0.001, 1e-4, 0.1, log=True, help="weight of the eigenvalues")
    threshold: float = hp(0.99, 0.9, 0.999, help="share of the trace that the kept eigenvalues make up")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        with full_precision(fs):
            aligned = daregram(widened(fs), widened(ft), self.threshold, self.angle_weight, self.scale_weight)
        return {"cls": net.criterion(net.head(fs), b.ys), "daregram": self.trade_off * aligned}
