"""Norms, spectra and subspaces of feature batches."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.ops.linalg.decompose import steady_svd
from dazoo.ops.moments import safe_norm


def afn(f: Tensor, delta: float | Tensor = 1.0) -> Tensor:
    """Stepwise adaptive feature norm, ``mean_i (|f_i| - stop(|f_i| + delta))^2``: f (n, d).

    The value is always delta^2; the gradient grows each norm by the same step.
    Xu et al., ICCV 2019, https://arxiv.org/abs/1811.07456
    """
    r = safe_norm(f)
    return (r - (r.detach() + delta)).square().mean()


def afn_hard(f: Tensor, radius: float | Tensor = 25.0) -> Tensor:
    """Hard adaptive feature norm, ``(mean_i |f_i| - radius)^2``: f (n, d).

    Xu et al., ICCV 2019, https://arxiv.org/abs/1811.07456
    """
    return (safe_norm(f).mean() - radius) ** 2


def bsp(fs: Tensor, ft: Tensor, k: int = 1) -> Tensor:
    """Batch spectral penalisation, ``sum_{i <= k} sigma_i(F_s)^2 + sigma_i(F_t)^2``: fs (n, d), ft (m, d).

    sigma_i is the i-th largest singular value. Chen et al., ICML 2019,
    https://proceedings.mlr.press/v97/chen19i.html
    """
    top_s = torch.linalg.svdvals(fs)[:k]
    top_t = torch.linalg.svdvals(ft)[:k]
    return top_s.square().sum() + top_t.square().sum()


def bss(f: Tensor, k: int = 1) -> Tensor:
    """Batch spectral shrinkage, the sum of the k smallest squared singular values of f (n, d).

    Chen et al., NeurIPS 2019, https://papers.nips.cc/paper/8466
    """
    s = torch.linalg.svdvals(f)
    return s[s.shape[-1] - k :].square().sum()


def rsd(fs: Tensor, ft: Tensor, base_weight: float | Tensor = 0.1) -> Tensor:
    """Representation subspace distance with its base mismatch penalty: fs (n, d), ft (n, d), rows are samples.

        U_s, U_t = left singular vectors of F_s^T, F_t^T;   P_s, cos, P_t = svd(U_s^T U_t)
        value = sum_i sqrt(1 - cos_i^2) + base_weight | |P_s| - |P_t| |_F

    Gradients pass through the decompositions; those of vectors that equal singular values or angles leave undefined
    (repeated rows, domains that span the same subspace) are zero, see ``steady_svd``. Two n-dimensional
    subspaces of R^d meet where 2 n > d, with angles that are zero by dimension alone and bases that are not defined;
    there the leading ``min(n, d // 2)`` singular vectors are used instead of all.
    Chen et al., ICML 2021, https://proceedings.mlr.press/v139/chen21u.html
    """
    d = fs.shape[1]
    k = max(1, min(fs.shape[0], ft.shape[0], d // 2))
    us, ut = steady_svd(fs.T)[0][:, :k], steady_svd(ft.T)[0][:, :k]
    ps, cos, pt = steady_svd(us.T @ ut)
    square = 1.0 - cos.square()
    flat = square <= 0
    sine = torch.where(flat, torch.zeros_like(square), torch.where(flat, torch.ones_like(square), square).sqrt())
    return sine.sum() + base_weight * safe_norm((ps.abs() - pt.abs()).flatten())


def daregram(
    fs: Tensor,
    ft: Tensor,
    threshold: float = 0.99,
    angle_weight: float | Tensor = 0.05,
    scale_weight: float | Tensor = 0.001,
) -> Tensor:
    """DARE-GRAM: alignment of the inverse Gram matrices of fs (n, d) and ft (m, d), for regression.

        A = [1, F],  G = A^T A with eigenvalues l_1 >= l_2 >= ...,  k = the larger of both domains' numbers of leading
        eigenvalues whose share of the trace stays within max(threshold, share of the first two)
        value = angle_weight / (d + 1) sum_j |1 - cos(G_s^+[:, j], G_t^+[:, j])| + scale_weight / k |l_s[:k] - l_t[:k]|

    with pseudo-inverses of rank k. The rank carries no gradient. Nejjar et al., CVPR 2023,
    https://arxiv.org/abs/2303.13325
    """
    gs, gt = _gram(fs), _gram(ft)
    ls, lt = torch.linalg.svdvals(gs), torch.linalg.svdvals(gt)
    last = torch.maximum(_last_within(ls, threshold), _last_within(lt, threshold))
    inv_s = torch.linalg.pinv(gs, rtol=_ratio(ls, last))
    inv_t = torch.linalg.pinv(gt, rtol=_ratio(lt, last))
    cos = (inv_s * inv_t).sum(0) / (safe_norm(inv_s, 0) * safe_norm(inv_t, 0)).clamp_min(1e-30)
    keep = (torch.arange(ls.shape[0], device=ls.device) < last).to(ls.dtype)
    angle = (cos - 1.0).abs().mean()
    scale = safe_norm((ls - lt) * keep) / last.clamp_min(1).to(ls.dtype)
    return angle_weight * angle + scale_weight * scale


def _gram(f: Tensor) -> Tensor:
    """Gram matrix of the features of f (n, d) with a constant in front (d + 1, d + 1)."""
    a = torch.cat([torch.ones_like(f[:, :1]), f], 1)
    return a.T @ a


def _last_within(spectrum: Tensor, threshold: float) -> Tensor:
    """Index of the last eigenvalue whose cumulated share is within the threshold, or within the first two (0-d)."""
    spectrum = spectrum.detach()
    share = torch.cumsum(spectrum, 0) / spectrum.sum().clamp_min(1e-30)
    bound = share[1].clamp_min(threshold)
    return (share <= bound).sum() - 1


def _ratio(spectrum: Tensor, last: Tensor) -> Tensor:
    """Relative tolerance that keeps the eigenvalues before ``last``: between the last kept and the first dropped.

    Never below rounding, so that a domain of lower rank than the other is not inverted where it has nothing.
    """
    spectrum = spectrum.detach()
    share = spectrum / spectrum[0].clamp_min(1e-30)
    between = (share.gather(0, last[None]) * share.gather(0, last[None] - 1)).squeeze(0).sqrt()
    return between.clamp_min(len(spectrum) * torch.finfo(spectrum.dtype).eps)
