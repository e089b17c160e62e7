"""Least-squares density ratios: the shared problem of uLSIF and RuLSIF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.reweighting._ratio import GRID, Bumps, centre_rows, median_sigma
from dazoo.methods.shallow import pair
from dazoo.ops.linalg.blas import cholesky, cholesky_solve, plain

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
    sigmas = tuple(middle * g for g in GRID)
    rows = centre_rows(xt, count, ctx)
    at = xt if rows is None else xt[rows]
    limit = ctx.memo.domains.limit
    if 8 * (len(xs) + len(xt)) * len(at) > limit:
        return Bases(Bumps(xs, xt, at), sigmas)
    # runs that draw the same centres share the kernels; those of the last draw are kept
    kept: dict[bytes | None, Bumps] = ctx.memo("bumps", dict)
    drawn = None if rows is None else rows.cpu().numpy().tobytes()
    if drawn not in kept:
        kept.clear()
        kept[drawn] = Bumps(xs, xt, at, limit)
    return Bases(kept[drawn], sigmas)


def solve(h_matrix: Tensor, h: Tensor, lam: float) -> Tensor:
    """max(0, (H + lam I)^-1 h): ``h_matrix`` (m, m), ``h`` (m,)."""
    return solve_all(h_matrix, h, (lam,))[0]


def solve_all(h_matrix: Tensor, h: Tensor, lams: tuple[float, ...]) -> Tensor:
    """``solve`` for every ridge: (len(lams), m)."""
    if plain(h_matrix, h) and h.dtype is torch.float64:
        from scipy.linalg.lapack import dposv

        right, rows = h.numpy(), []
        for lam in lams:
            a = h_matrix.numpy().copy()
            a.flat[:: len(a) + 1] += lam
            _, x, failed = dposv(a.T, right, lower=1, overwrite_a=1)
            if failed:
                raise torch.linalg.LinAlgError("the kernel's second moments are not positive definite")
            rows.append(x)
        return torch.from_numpy(np.maximum(np.stack(rows), 0.0))
    rows_ = []
    for lam in lams:
        a_ = h_matrix.clone()
        a_.diagonal().add_(lam)
        rows_.append(cholesky_solve(cholesky(a_), h[:, None])[:, 0])
    return torch.stack(rows_).clamp(min=0)
