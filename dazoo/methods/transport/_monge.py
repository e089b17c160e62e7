"""The linear Monge map between Gaussians, by the way that costs least."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import moments_of, pair
from dazoo.ops.linalg.blas import cholesky, product, solve_lower
from dazoo.ops.linalg.linear import matrix_power, ridged, second_moment, symmetrise
from dazoo.ops.linalg.spectral import span


def monge_map(seen: Seen, ctx: Context, reg: float) -> Tensor:
    """A (d, d) of ``ot_linear``: within the span of the samples where they are fewer than features, else from the
    source's covariance, which all pairs of a domain share, and the target's samples times its Cholesky factor."""
    xs, xt = pair(seen)
    if isinstance(xt, Blocks):
        return gaussian_map(*(ridged(moments_of(seen, ctx, side)[1], reg) for side in "st"))
    if len(xs) + len(xt) < xs.shape[1]:
        return few_samples_map(xs - xs.mean(dim=0), xt - xt.mean(dim=0), reg)
    centred = xt - xt.mean(dim=0)
    lower = cholesky(ridged(moments_of(seen, ctx, "s")[1], reg))
    pulled = second_moment(product(centred, lower)) / max(len(xt) - 1, 1)
    pulled += ridge_of(centred, reg) * second_moment(lower)
    return carried_back(lower, pulled)


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
