"""Decompositions whose gradients stay finite where eigenvalues or singular values coincide."""

from __future__ import annotations

import torch
from torch import Tensor


def steady_svd(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD ``x = U diag(s) V^T``: x (n, m) -> U (n, r), s (r,), V (m, r), r = min(n, m), s descending.

    First-order gradients by perturbation theory,

        dP = U^T dx V,   ds = diag(dP),   dU = U (F * (dP S + S dP^T)) + (I - U U^T) dx V S^+,
        F_ij = 1 / (s_j^2 - s_i^2)

    and dV alike, written as linear forms in ``x - stop(x)``. Where two squared values are closer than rounding lets us
    tell, their vectors are not defined apart: F is 0 there, as is S^+ for values that are zero to rounding. Plain
    backward formulas divide by these gaps and return NaN.
    """
    u, s, vh = torch.linalg.svd(x.detach(), full_matrices=False)
    v = vh.T
    change = x - x.detach()
    sq = s.square()
    floor = 10.0 * torch.finfo(x.dtype).eps * sq[0].clamp_min(1e-30)
    gap = sq[None, :] - sq[:, None]
    apart = gap.abs() > floor
    f = torch.where(apart, 1.0 / torch.where(apart, gap, torch.ones_like(gap)), torch.zeros_like(gap))
    large = sq > floor
    inverse = torch.where(large, 1.0 / torch.where(large, s, torch.ones_like(s)), torch.zeros_like(s))
    dp = u.T @ change @ v
    xv, xu = change @ v, change.T @ u
    du = u @ (f * (dp * s[None, :] + s[:, None] * dp.T)) + (xv - u @ (u.T @ xv)) * inverse
    dv = v @ (f * (s[:, None] * dp + dp.T * s[None, :])) + (xu - v @ (v.T @ xu)) * inverse
    return u + du, s + torch.diagonal(dp), v + dv
