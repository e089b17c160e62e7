"""Sliced Wasserstein distances between weighted samples of any size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
    wa = a.new_full((n,), 1.0 / n) if wa is None else wa
    wb = b.new_full((m,), 1.0 / m) if wb is None else wb
    return sliced_by_class(a, b, directions, wa[:, None], wb[:, None])[0]


def sliced_by_class(a: Tensor, b: Tensor, directions: Tensor, wa: Tensor, wb: Tensor) -> Tensor:
    """``sliced_wasserstein`` for C weightings of the same samples, wa (n, C) and wb (m, C): (C,).

    Rows are projected and sorted once. With p the sorted projections, c the cumulated weights and G, H the integrals of
    the quantile functions of b and a, a projection's value is

        sum_i wa_i pa_i^2 + sum_j wb_j pb_j^2 - 2 sum_i pa_i (G(ca_i) - G(ca_i-1))

    and its gradient in pa_i 2 wa_i pa_i - 2 (G(ca_i) - G(ca_i-1)), in pb_j the same with H.
    """
    pa, ia = torch.sort((a @ directions).T, dim=1)
    pb, ib = torch.sort((b @ directions).T, dim=1)
    with torch.no_grad():
        middle = (pa.mean(1, keepdim=True) + pb.mean(1, keepdim=True)) / 2  # nothing changes but rounding
        xa, xb = pa - middle, pb - middle
        (ua, ca), (ub, cb) = (_shares(w.detach().to(a.dtype), i) for w, i in ((wa, ia), (wb, ib)))
        met_a, met_b = _met(ca, cb, ub, xb), _met(cb, ca, ua, xa)
        slope_a, slope_b = ua * xa - met_a, ub * xb - met_b
        value = (slope_a * xa).sum((1, 2)) + (slope_b * xb).sum((1, 2))
    moved = (slope_a * (pa - pa.detach())).sum((1, 2)) + (slope_b * (pb - pb.detach())).sum((1, 2))
    return (value + 2.0 * moved) / directions.shape[1]


def _shares(w: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (C, M, n) of w (n, C) in the order (M, n) of every projection, and cumulated; the last is 1."""
    ordered = w.T[:, order]
    total = torch.cumsum(ordered, 2)
    return ordered / total[..., -1:], (total / total[..., -1:]).contiguous()


def _met(ends: Tensor, others: Tensor, w: Tensor, x: Tensor) -> Tensor:
    """Integral of the other side's quantile function over each own piece (C, M, n): ``ends`` of own pieces (C, M, n),
    of the others' (C, M, m), the others' weights w (C, M, m) and values x (M, m)."""
    at = torch.searchsorted(others, ends).clamp_max(others.shape[2] - 1)
    before, until = (functional.pad(torch.cumsum(v, 2), (1, 0)) for v in (w, w * x))
    upto = until.gather(2, at) + x.expand_as(others).gather(2, at) * (ends - before.gather(2, at))
    return torch.diff(upto, dim=2, prepend=torch.zeros_like(upto[..., :1]))
