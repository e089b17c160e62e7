"""Linear Monge mapping between Gaussians. Knott and Smith 1984; Flamary, Lounici and Ferrari 2019.

    z_s = (x_s - mean_s) A + mean_t,      z_t = x_t
    A = C_s^(-1/2) (C_s^(1/2) C_t C_s^(1/2))^(1/2) C_s^(-1/2)        (d, d)
    C_s = cov(X_s) + reg v_s I,  v_s the mean variance of a feature;  C_t likewise

computed as A = L^-T (L' C_t L)^(1/2) L^-1 with the Cholesky factor C_s = L L': the one symmetric positive definite A
with A C_s A = C_t.

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
from dazoo.methods.shallow import Aligned, FeatureMap, moments_of, pair
from dazoo.ops.linalg.blas import cholesky, product, solve_lower
from dazoo.ops.linalg.linear import matrix_power, ridged, second_moment, symmetrise
from dazoo.ops.linalg.spectral import span
from dazoo.shallow.steps import Affine


@register
class OTLinear(FeatureMap):
    """Linear Monge mapping between Gaussians."""

    paper = Paper(
        title="Concentration bounds for linear Monge mapping estimation and optimal transport domain adaptation",
        authors="Rémi Flamary, Karim Lounici, André Ferrari",
        year=2019,
        url="https://arxiv.org/abs/1905.10155",
        venue="arXiv (Journal)",
        deviations="covariances are regularised relative to their mean variance",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    targets = frozenset({"classes", "values"})
    reg: float = hp(1e-3, 1e-6, 1.0, log=True, help="added to the diagonals, relative to the mean variance")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The Monge map between the two Gaussians."""
        xs, xt = pair(seen)
        if len(xs) + len(xt) < xs.shape[1]:
            mean_s, mean_t = xs.mean(dim=0), xt.mean(dim=0)
            a = few_samples_map(xs - mean_s, xt - mean_t, self.reg)
        else:
            (mean_s, cov_s), mean_t = moments_of(seen, ctx, "s"), xt.mean(dim=0)
            lower = cholesky(ridged(cov_s, self.reg))
            pulled = second_moment(product(xt - mean_t, lower)) / max(len(xt) - 1, 1)
            pulled += ridge_of(xt - mean_t, self.reg) * second_moment(lower)
            a = carried_back(lower, pulled)
        step = Affine(a, mean_t - mean_s @ a)
        return Aligned(step(xs), (), (step,))


def gaussian_map(cov_s: Tensor, cov_t: Tensor) -> Tensor:
    """The symmetric positive definite A (d, d) with A cov_s A = cov_t."""
    lower = cholesky(cov_s)
    return carried_back(lower, product(lower.T, product(cov_t, lower)))


def carried_back(lower: Tensor, pulled: Tensor) -> Tensor:
    """L^-T ``pulled``^(1/2) L^-1 (d, d) of ``pulled`` = L' C_t L."""
    root = matrix_power(pulled, 0.5)
    return symmetrise(solve_lower(lower, solve_lower(lower, root, transposed=True).T, transposed=True))


def ridge_of(x: Tensor, reg: float) -> Tensor:
    """``reg`` times the mean variance of centred samples ``x`` (n, d), or ``reg`` itself where they do not vary."""
    level = x.square().sum() / (max(len(x) - 1, 1) * x.shape[1])
    return reg * torch.where(level > 0, level, torch.ones_like(level))


def few_samples_map(xs: Tensor, xt: Tensor, reg: float) -> Tensor:
    """``gaussian_map`` (d, d) of centred samples (n_s, d) and (n_t, d) with n_s + n_t < d.

    Outside the span Q (d, r) of all samples both covariances are multiples a I and b I, and A is (b / a)^(1/2) I.
    """
    basis = span(torch.cat([xs, xt]))
    assert basis is not None
    covariances, levels = [], []
    for x in (xs, xt):
        level = ridge_of(x, reg)
        cov = second_moment(product(x, basis)) / max(len(x) - 1, 1)
        cov.diagonal().add_(level)
        covariances.append(cov)
        levels.append(level)
    outside = (levels[1] / levels[0]).sqrt()
    inner = gaussian_map(*covariances)
    inner.diagonal().sub_(outside)
    a = symmetrise(product(product(basis, inner), basis.T))
    a.diagonal().add_(outside)
    return a
