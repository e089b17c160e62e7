"""Sliced Wasserstein distances between weighted samples of any size."""

from __future__ import annotations

import torch
from torch import Tensor


def sliced_wasserstein(
    a: Tensor, b: Tensor, directions: Tensor, wa: Tensor | None = None, wb: Tensor | None = None
) -> Tensor:
    """Mean squared Wasserstein-2 distance of projections, between weighted rows of a (n, d) and b (m, d).

        1/M sum_m integral_0^1 (Q_am(u) - Q_bm(u))^2 du

    Q are the quantile functions of the projected rows. The integral is exact: both functions are constant between the
    cumulated weights, of which there are n + m. With n = m and equal weights it is the mean squared difference of
    sorted projections. Bonneel et al., JMIV 2015, https://doi.org/10.1007/s10851-014-0506-3

    Args:
        directions: unit columns (d, M), drawn by the caller.
        wa: weights (n,) that sum to 1, default equal. No gradient flows through them.
        wb: weights (m,) that sum to 1, default equal.
    """
    n, m = a.shape[0], b.shape[0]
    if n == m and wa is None and wb is None:
        return (torch.sort(a @ directions, dim=0).values - torch.sort(b @ directions, dim=0).values).square().mean()
    wa = a.new_full((n,), 1.0 / n) if wa is None else wa.detach().to(a.dtype)
    wb = b.new_full((m,), 1.0 / m) if wb is None else wb.detach().to(a.dtype)
    pa, ia = torch.sort((a @ directions).T, dim=1)
    pb, ib = torch.sort((b @ directions).T, dim=1)
    ca, cb = _cumulated(wa, ia), _cumulated(wb, ib)
    ends = torch.sort(torch.cat([ca, cb], 1), dim=1).values
    starts = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
    # in the middle of a piece neither function jumps, so rounding at the ends does no harm
    middle = (starts + ends) / 2
    qa = pa.gather(1, torch.searchsorted(ca, middle).clamp_max(n - 1))
    qb = pb.gather(1, torch.searchsorted(cb, middle).clamp_max(m - 1))
    return ((ends - starts) * (qa - qb).square()).sum(1).mean()


def _cumulated(w: Tensor, order: Tensor) -> Tensor:
    """Cumulated weights (M, n) in the order of every projection; the last is 1."""
    total = torch.cumsum(w[order], 1)
    return (total / total[:, -1:]).contiguous()
