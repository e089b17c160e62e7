"""Differences of moments: means, covariances, central and mixed higher moments."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from dazoo.core.errors import DazooError


def safe_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Euclidean norm along ``dim`` whose gradient at zero is zero instead of NaN."""
    sq = x.square().sum(dim)
    zero = sq == 0
    return torch.where(zero, torch.zeros_like(sq), torch.where(zero, torch.ones_like(sq), sq).sqrt())


def covariance(f: Tensor) -> Tensor:
    """Sample covariance ``(f - mean)^T (f - mean) / (n - 1)``: f (n, d), n >= 2 -> (d, d)."""
    n = f.shape[0]
    if n < 2:
        raise DazooError(f"a covariance needs at least 2 rows, not {n}; enlarge the batch")
    centred = f - f.mean(0)
    return centred.T @ centred / (n - 1)


def mean_difference(fs: Tensor, ft: Tensor) -> Tensor:
    """``|mean(fs) - mean(ft)|^2``: fs (n, d), ft (m, d)."""
    return (fs.mean(0) - ft.mean(0)).square().sum()


def coral(fs: Tensor, ft: Tensor) -> Tensor:
    """Difference of second moments, ``|C_s - C_t|_F^2 / (4 d^2)``: fs (n, d), ft (m, d), n and m at least 2.

    C are sample covariances. Their difference is A^T S A, with the centred rows A (n + m, d) and S diagonal, 1/(n - 1)
    for source rows and -1/(m - 1) for target rows. Where rows are fewer than features, its norm comes from the smaller
    product: |A^T S A|_F^2 = sum_ij S_ii S_jj (A A^T)_ij^2.
    Sun and Saenko, ECCV workshops 2016 (Deep CORAL), https://arxiv.org/abs/1607.01719
    """
    n, m, d = fs.shape[0], ft.shape[0], fs.shape[1]
    if min(n, m) < 2:
        raise DazooError(f"a covariance needs at least 2 rows, not {min(n, m)}; enlarge the batch")
    s, t = fs - fs.mean(0), ft - ft.mean(0)
    if n + m < d:
        rows = torch.cat([s, t])
        return ((rows @ rows.T).square() * _signed(n, m, fs.dtype, fs.device)).sum() / (4.0 * d * d)
    gap = torch.cat([s, t]).T @ torch.cat([s / (n - 1.0), t / (1.0 - m)])
    return gap.square().sum() / (4.0 * d * d)


@lru_cache(maxsize=16)
def _signed(n: int, m: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``S_ii S_jj`` of ``coral`` (n + m, n + m)."""
    with torch.inference_mode(False):
        diagonal = torch.full((n + m,), 1.0 / (n - 1), dtype=dtype, device=device)
        diagonal[n:] = -1.0 / (m - 1)
        return diagonal[:, None] * diagonal[None, :]


def log_coral(fs: Tensor, ft: Tensor, ridge: float = 1e-3) -> Tensor:
    """Log-Euclidean difference of covariances, ``|log(C_s + r I) - log(C_t + r I)|_F^2 / (4 d^2)``.

    fs (n, d), ft (m, d). The ridge is ``r = ridge * trace(C) / d`` of each covariance, which keeps the logarithm finite
    where a batch has fewer rows than features. Gradients of equal eigenvalues take the limit of the divided
    difference. Where rows are fewer than features, both come from their (n, n) and (m, m) inner products.
    Morerio et al., ICLR 2018, https://arxiv.org/abs/1711.10288
    """
    d = fs.shape[1]
    if min(len(fs), len(ft)) >= 2 and len(fs) + len(ft) < d:
        return _log_coral_of_rows(fs, ft, ridge)
    return (_log_spd(covariance(fs), ridge) - _log_spd(covariance(ft), ridge)).square().sum() / (4.0 * d * d)


def _log_spd(c: Tensor, ridge: float) -> Tensor:
    """Matrix logarithm of ``c + r I`` (d, d): value from eigh, gradient by the Daleckii-Krein formula.

    The gradient of a symmetric matrix function is ``V (L * (V^T G V)) V^T`` with divided differences L; written as the
    linear form ``<V (L * V^T G V) V^T, c>`` around a detached point, it never divides by a zero gap.
    """
    d = c.shape[-1]
    eye = torch.eye(d, dtype=c.dtype, device=c.device)
    r = ridge * c.diagonal(dim1=-2, dim2=-1).mean(-1).detach().clamp_min(1e-30)
    c = c + r * eye
    w, v = torch.linalg.eigh(c.detach())
    w = w.clamp_min(1e-30)
    value = (v * w.log()) @ v.T
    change = v @ (_log_slopes(w) * (v.T @ (c - c.detach()) @ v)) @ v.T
    return value + change


def _log_slopes(w: Tensor) -> Tensor:
    """Divided differences (k, k) of the logarithm at ``w`` (k,) > 0."""
    log, gap = w.log(), w[:, None] - w[None, :]
    close = gap.abs() <= 1e-6 * (w[:, None] + w[None, :])
    return torch.where(
        close, 2.0 / (w[:, None] + w[None, :]), (log[:, None] - log[None, :]) / torch.where(close, 1.0, gap)
    )


def _log_coral_of_rows(fs: Tensor, ft: Tensor, ridge: float) -> Tensor:
    """``log_coral`` for n + m < d, value and gradient in closed form.

    With C = V diag(l) V' of rank k < n, log(C + r I) = log(r) I + V diag(log(1 + l / r)) V'. The gradient of the log at
    G leaves V' (L * V'G V) V' in the span, and rows V'G outside of it times log(1 + l / r) / l.
    """
    d = fs.shape[1]
    with torch.no_grad():
        sides = [_spectrum_of_rows(x.detach(), ridge) for x in (fs, ft)]
        offset = (sides[0].ridge / sides[1].ridge).log()
        basis = torch.cat([s.vectors for s in sides], 1)
        signed = torch.cat([sides[0].lift, -sides[1].lift])
        inner = basis.T @ basis
        value = d * offset**2 + 2 * offset * signed @ inner.diagonal() + signed @ inner.square() @ signed
        slopes, k = [], len(sides[0].lift)
        for s, own, sign in zip(sides, (inner[:k], inner[k:]), (1.0, -1.0)):
            reached = offset * s.vectors.T + (own * signed) @ basis.T
            within = reached @ s.vectors
            change = (_log_slopes(s.values + s.ridge) * within) @ s.vectors.T
            change += (s.lift / s.values.clamp_min(1e-30))[:, None] * (reached - within @ s.vectors.T)
            slopes.append(sign * s.left @ change)
    moved = sum((slope * (x - x.detach())).sum() for slope, x in zip(slopes, (fs, ft)))
    return (value + 4 * moved) / (4.0 * d * d)


class _Rows(NamedTuple):
    """A covariance of rank k from its rows: ``values`` (k,), ``vectors`` (d, k), ``lift`` log(1 + values / ridge), and
    ``left`` (n, k) with d trace(G C) = 2 trace(left V'G dx')."""

    values: Tensor
    vectors: Tensor
    lift: Tensor
    ridge: Tensor
    left: Tensor


def _spectrum_of_rows(x: Tensor, ridge: float) -> _Rows:
    n, d = x.shape
    x = x - x.mean(0)
    gram = x @ x.T / max(n - 1, 1)
    r = (ridge * gram.diagonal().sum() / d).clamp_min(1e-30)
    values, u = torch.linalg.eigh(gram)
    keep = values > 4 * n * torch.finfo(x.dtype).eps * values[-1].clamp_min(1e-30)
    values = values.where(keep, torch.zeros_like(values))  # and their vectors too: vmap keeps shapes
    scale = (values * max(n - 1, 1)).sqrt().where(keep, torch.full_like(values, torch.inf))
    return _Rows(values, x.T @ (u / scale), torch.log1p(values / r), r, u * (values / max(n - 1, 1)).sqrt())


def central_moments(fs: Tensor, ft: Tensor, moments: int = 5, span: float = 1.0) -> Tensor:
    """Central moment discrepancy: fs (n, d), ft (m, d) with entries in an interval of length ``span`` (b - a).

        |E s - E t| / (b - a) + sum_{k=2}^{K} |c_k(s) - c_k(t)| / (b - a)^k,    c_k(x) = E (x - E x)^k per feature

    with Euclidean norms over features. Zellinger et al., ICLR 2017, https://arxiv.org/abs/1702.08811
    """
    ms, mt = fs.mean(0), ft.mean(0)
    total = safe_norm(ms - mt) / span
    for k in range(2, moments + 1):
        total = total + safe_norm((fs - ms).pow(k).mean(0) - (ft - mt).pow(k).mean(0)) / span**k
    return total


def higher_order(fs: Tensor, ft: Tensor, order: int = 3, index: Tensor | None = None) -> Tensor:
    """Higher-order moment matching (HoMM): fs (n, d), ft (m, d).

        mean over index tuples (j_1 .. j_p) of (E prod_q s_{j_q} - E prod_q t_{j_q})^2

    Without ``index`` over all d^p tuples (small d only); with ``index`` (N, p) over these N, drawn by the caller.
    Chen et al., AAAI 2020, https://arxiv.org/abs/1912.11976
    """
    if index is not None:
        return (_mixed(fs, index) - _mixed(ft, index)).square().mean()
    ts, tt = fs, ft
    for _ in range(order - 1):
        ts = (ts[:, :, None] * fs[:, None, :]).flatten(1)
        tt = (tt[:, :, None] * ft[:, None, :]).flatten(1)
    return (ts.mean(0) - tt.mean(0)).square().mean()


def _mixed(f: Tensor, index: Tensor) -> Tensor:
    """Mean over rows of products of the indexed features: f (n, d), index (N, p) -> (N,)."""
    # index_select: its backward pass is several times faster than that of advanced indexing, and of whole rows again
    columns = f.T.contiguous()
    product = columns.index_select(0, index[:, 0])
    for q in range(1, index.shape[1]):
        product = product * columns.index_select(0, index[:, q])
    return product.mean(1)
