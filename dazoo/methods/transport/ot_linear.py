"""Linear Monge mapping between Gaussians. Knott and Smith 1984; Flamary, Lounici and Ferrari 2019.

    z_s = (x_s - mean_s) A + mean_t,      z_t = x_t
    A = C_s^(-1/2) (C_s^(1/2) C_t C_s^(1/2))^(1/2) C_s^(-1/2)        (d, d)
    C_s = cov(X_s) + reg v_s I,  v_s the mean variance of a feature;  C_t likewise

computed as A = L^-T (L' C_t L)^(1/2) L^-1 with the Cholesky factor C_s = L L': the one symmetric positive definite A
with A C_s A = C_t.

Source: https://arxiv.org/abs/1905.10155. Deviations: covariances are regularised relative to their mean variance.

Evidence: tests/test_shallow_transport.py::test_linear_map_equals_pots_gaussian_map,
test_linear_map_carries_mean_and_covariance_over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, moments, source_x
from dazoo.methods.steps import Affine
from dazoo.ops.linear import matrix_power, ridged, symmetrise


@register
class OtLinear(FeatureMap):
    """See the module's docstring."""

    paper = Paper(
        "Concentration bounds for linear Monge mapping estimation and optimal transport domain adaptation",
        "Rémi Flamary, Karim Lounici, André Ferrari",
        2019,
        "https://arxiv.org/abs/1905.10155",
        "arXiv (Journal)",
        "covariances regularised relative to their mean variance",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    targets = frozenset({"classes", "values"})
    reg: float = hp(1e-3, 1e-6, 1.0, log=True, help="added to the diagonals, relative to the mean variance")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The Monge map between the two Gaussians."""
        (mean_s, cov_s), (mean_t, cov_t) = moments(seen, ctx)
        a = gaussian_map(ridged(cov_s, self.reg), ridged(cov_t, self.reg))
        step = Affine(a, mean_t - mean_s @ a)
        return Aligned(step(source_x(seen)), (), (step,))


def gaussian_map(cov_s: Tensor, cov_t: Tensor) -> Tensor:
    """The symmetric positive definite A (d, d) with A cov_s A = cov_t."""
    lower = torch.linalg.cholesky(cov_s)
    root = matrix_power(lower.T @ cov_t @ lower, 0.5)
    half = torch.linalg.solve_triangular(lower.T, root, upper=True)
    return symmetrise(torch.linalg.solve_triangular(lower.T, half.T, upper=True))
