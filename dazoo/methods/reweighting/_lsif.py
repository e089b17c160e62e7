"""Least-squares density ratios: the shared problem of uLSIF and RuLSIF."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.reweighting._ratio import GRID, Bumps, centres, median_sigma
from dazoo.methods.shallow import pair
from dazoo.ops.blas import cholesky, cholesky_solve

LAMBDAS = tuple(10.0 ** (k / 2) for k in range(-6, 3))


@dataclass(frozen=True)
class Bases:
    """The kernels around the chosen centres, and the widths to try."""

    bumps: Bumps
    sigmas: tuple[Tensor, ...]


def bases(seen: Seen, count: int, ctx: Context) -> Bases:
    """``count`` Gaussian kernels at target samples; widths 0.1 ... 10 times the median distance."""
    if count < 1:
        raise DazooError(f"the number of kernel centres must be at least 1, not {count}")
    xs, xt = pair(seen)
    middle = median_sigma(seen, ctx)
    return Bases(Bumps(xs, xt, centres(xt, count, ctx)), tuple(middle * g for g in GRID))


def solve(h_matrix: Tensor, h: Tensor, lam: float) -> Tensor:
    """max(0, (H + lam I)^-1 h): ``h_matrix`` (m, m), ``h`` (m, ...)."""
    a = h_matrix.clone()
    a.diagonal().add_(lam)
    right = h if h.ndim == 2 else h[:, None]
    return cholesky_solve(cholesky(a), right).clamp(min=0).view_as(h)
