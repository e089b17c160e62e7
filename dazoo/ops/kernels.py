"""Squared distances and kernel matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Long et al. 2015 as commonly run: five bandwidths, a factor of two apart, around the mean squared distance
FIVE_SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)
_TINY = 1e-30


def squared_distances(a: Tensor, b: Tensor | None = None) -> Tensor:
    """All squared Euclidean distances ``D_ij = |a_i - b_j|^2``: a (n, d), b (m, d) -> (n, m).

    Computed from inner products of centred rows, so that a common offset costs no precision. Never negative; the
    gradient is finite at distance zero. Without ``b``, the distances within ``a``, with an exactly zero diagonal.
    """
    other = a if b is None else b
    centre = (a if b is None else torch.cat([a, other])).detach().mean(0)
    a = a - centre
    other = a if b is None else other - centre
    norms = (a * a).sum(1)
    others = norms if b is None else (other * other).sum(1)
    sq = torch.addmm(norms[:, None] + others[None, :], a, other.T, alpha=-2.0)
    if b is None:
        sq = sq.masked_fill(torch.eye(len(a), dtype=torch.bool, device=a.device), 0.0)
    return sq.clamp_min(0.0)


def linear_kernel(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Inner products ``K_ij = <a_i, b_j>``: a (n, d), b (m, d) -> (n, m)."""
    return a @ (a if b is None else b).T


def rbf(a: Tensor, b: Tensor | None = None, gamma: float | Tensor = 1.0) -> Tensor:
    """Gaussian kernel ``K_ij = exp(-gamma |a_i - b_j|^2)``: a (n, d), b (m, d) -> (n, m)."""
    return torch.exp(-gamma * squared_distances(a, b))


def gaussian(sq: Tensor, sigma: float | Tensor) -> Tensor:
    """Gaussian kernel ``exp(-D_ij / (2 sigma^2))`` of squared distances ``sq`` (n, m)."""
    return torch.exp(-sq / (2.0 * sigma**2))


def multi_gaussian(sq: Tensor, scales: Sequence[float] = FIVE_SCALES, mean: Tensor | None = None) -> Tensor:
    """Sum of Gaussian kernels around the mean squared distance.

        K_ij = sum_a exp(-D_ij / (2 a m)),    m = mean of D over all its entries (the diagonal included)

    ``m`` is a bandwidth, not part of the loss: no gradient flows through it. Long et al., ICML 2015,
    https://arxiv.org/abs/1502.02791

    Args:
        sq: squared distances D (n, m), normally of source and target rows together.
        scales: the multipliers a.
        mean: the bandwidth m (0-d), where it is not the mean of ``sq``.
    """
    m = (sq.mean() if mean is None else mean).detach().clamp_min(_TINY)
    rates = torch.tensor([-0.5 / a for a in scales], dtype=sq.dtype, device=sq.device) / m
    return torch.exp(sq * rates[:, None, None]).sum(0)  # all scales in one step


def mean_distance(sq: Tensor) -> Tensor:
    """The mean of the off-diagonal squared distances ``sq`` (n, n), n >= 2, without gradient (0-d).

    Some programs take it as the bandwidth of ``multi_gaussian``, which is n/(n - 1) of the mean over all entries.
    """
    n = sq.shape[0]
    return sq.detach().sum() / (n * (n - 1))


def median_distance(sq: Tensor) -> Tensor:
    """The median of the off-diagonal squared distances ``sq`` (n, n), n >= 2, without gradient (0-d)."""
    rows, cols = torch.triu_indices(sq.shape[0], sq.shape[0], 1, device=sq.device)
    return sq.detach()[rows, cols].median()
