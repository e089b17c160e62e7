"""Losses that compare the domains class by class.

Classes enter as weights (n, C), one-hot labels or probabilities, never as index sets: shapes then do not depend on the
data, and a class that a batch lacks drops out through its zero weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.kernels import FIVE_SCALES, multi_gaussian, squared_distances

_TINY = 1e-30


def one_hot(y: Tensor, n_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows with a one at the label: y (n,) -> (n, C). A label outside 0..C-1 gives a row of zeros."""
    return (y[..., None] == torch.arange(n_classes, device=y.device)).to(dtype)


def normalised(w: Tensor) -> tuple[Tensor, Tensor]:
    """Class weights w (n, C) >= 0 scaled to columns that sum to 1 (n, C), and which classes occur (C,) of 0 and 1."""
    mass = w.sum(0)
    return w / torch.where(mass > 0, mass, torch.ones_like(mass)), (mass > 0).to(w.dtype)


def class_means(f: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted class centroids and which classes occur: f (n, d), w (n, C) -> (C, d), (C,) of 0 and 1.

    ``mu_c = sum_i w_ic f_i / sum_i w_ic``, zero for a class without weight.
    """
    scaled, present = normalised(w)
    return scaled.T @ f, present


def moving_means(old: Tensor, new: Tensor, present: Tensor, decay: float | Tensor) -> Tensor:
    """Centroids moved towards a batch's: ``decay old + (1 - decay) new`` where present, else old.

    old, new (C, d), present (C,) of 0 and 1.
    """
    return old + (1.0 - decay) * present[:, None] * (new - old)


def lmmd(fs: Tensor, ft: Tensor, ws: Tensor, wt: Tensor, k: Tensor | None = None) -> Tensor:
    """Local MMD of DSAN: the mean over shared classes of the classes' squared MMDs.

        1/|S| sum_{c in S} | sum_i w^s_ic phi(s_i) - sum_j w^t_jc phi(t_j) |^2

    with weights scaled to sum to 1 per class, and S the classes that have source weight and are some target row's
    most probable class. Zero where S is empty. No gradient flows through the weights.
    Zhu et al., TNNLS 2021, https://arxiv.org/abs/2106.09388

    Args:
        fs: source features (n, d).
        ft: target features (m, d).
        ws: source one-hot labels (n, C).
        wt: target class probabilities (m, C).
        k: kernel matrix (n + m, n + m); default ``multi_gaussian`` of all rows.
    """
    if k is None:
        k = multi_gaussian(squared_distances(torch.cat([fs, ft])))
    return (k * lmmd_weights(ws.to(fs.dtype), wt.to(fs.dtype))).sum()


def lmmd_weights(ws: Tensor, wt: Tensor) -> Tensor:
    """Weights (n + m, n + m) of the kernel entries whose sum is ``lmmd``: ws (n, C), wt (m, C); no gradient."""
    ws, wt = ws.detach(), wt.detach()
    us, in_source = normalised(ws)
    ut, _ = normalised(wt)
    shared = in_source * one_hot(wt.argmax(1), ws.shape[1], ws.dtype).amax(0)
    u = torch.cat([us, -ut])
    return (u * (shared / shared.sum().clamp_min(1.0))) @ u.T


def class_mmd(k: Tensor, us: Tensor, ut: Tensor) -> Tensor:
    """Squared MMDs between every source class and every target class, (C, C).

        D_cc' = us_c^T k_ss us_c + ut_c'^T k_tt ut_c' - 2 us_c^T k_st ut_c'

    k (n + m, n + m), us (n, C) and ut (m, C) with columns that sum to 1.
    """
    n = us.shape[0]
    ss = (us * (k[:n, :n] @ us)).sum(0)
    tt = (ut * (k[n:, n:] @ ut)).sum(0)
    return ss[:, None] + tt[None, :] - 2.0 * us.T @ k[:n, n:] @ ut


def paired_class_mmd(sq: Tensor, ws: Tensor, wt: Tensor) -> Tensor:
    """``class_mmd`` with a bandwidth for every pair of classes, (C, C), as in the program of CAN.

        D_cc' of the kernel sum_a exp(-d / (2 a m_cc')),   m_cc' = mean of d over the pairs of different rows of source
        class c and target class c' together, at least 1e-5

    Args:
        sq: squared distances d of all rows (n + m, n + m), source rows first.
        ws, wt: one-hot labels (n, C), (m, C); rows of zeros are left out.
    """
    n = ws.shape[0]
    ss, tt, st = sq[:n, :n], sq[n:, n:], sq[:n, n:]
    (us, _), (ut, _) = normalised(ws), normalised(wt)
    total = (ws * (ss @ ws)).sum(0)[:, None] + (wt * (tt @ wt)).sum(0)[None, :] + 2.0 * ws.T @ st @ wt
    size = ws.sum(0)[:, None] + wt.sum(0)[None, :]
    m = (total / (size * (size - 1.0)).clamp_min(1.0)).detach().clamp_min(1e-5)

    def kernel(d: Tensor, mean: Tensor) -> Tensor:
        rates = -0.5 / mean.clamp_min(1e-5)
        return torch.stack([torch.exp(d * (rates / a)) for a in FIVE_SCALES]).sum(0)

    # rows of a class take its bandwidth with every class of the other side: (other class, row, row)
    within_s = torch.einsum("ic,pij,jc->cp", us, kernel(ss, (ws @ m).T[:, :, None]), us)
    within_t = torch.einsum("ic,pij,jc->pc", ut, kernel(tt, (wt @ m.T).T[:, :, None]), ut)
    return within_s + within_t - 2.0 * us.T @ kernel(st, ws @ m @ wt.T) @ ut


def cdd(fs: Tensor, ft: Tensor, ws: Tensor, wt: Tensor, k: Tensor | None = None, *, by_pair: bool = False) -> Tensor:
    """Contrastive domain discrepancy of CAN: mean intra-class minus mean inter-class squared MMD.

        mean_{c in S} D_cc - mean_{(c, c') in P, c != c'} D_cc'

    with D of ``class_mmd``, S the classes both batches hold and P the pairs of a class held by the source and one held
    by the target; an empty mean is zero. Kang et al., CVPR 2019, https://arxiv.org/abs/1901.00976

    Args:
        fs: source features (n, d).
        ft: target features (m, d).
        ws: source one-hot labels (n, C).
        wt: target one-hot pseudo-labels (m, C); rows of zeros leave a target sample out.
        k: kernel matrix (n + m, n + m); default ``multi_gaussian`` of all rows.
        by_pair: D of ``paired_class_mmd`` instead.
    """
    ws, wt = ws.detach().to(fs.dtype), wt.detach().to(fs.dtype)
    us, in_s = normalised(ws)
    ut, in_t = normalised(wt)
    if by_pair:
        d = paired_class_mmd(squared_distances(torch.cat([fs, ft])), ws, wt)
    else:
        d = class_mmd(multi_gaussian(squared_distances(torch.cat([fs, ft]))) if k is None else k, us, ut)
    eye = torch.eye(d.shape[0], dtype=d.dtype, device=d.device)
    pairs = in_s[:, None] * in_t[None, :]
    same, other = pairs * eye, pairs * (1.0 - eye)
    return (d * same).sum() / same.sum().clamp_min(1.0) - (d * other).sum() / other.sum().clamp_min(1.0)


def centroid_distance(mu_s: Tensor, mu_t: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean squared distance of class centroids, ``1/|S| sum_{c in S} |mu_s,c - mu_t,c|^2``: (C, d), (C, d).

    S are the classes with ``present`` (C,) = 1, default all. Xie et al., ICML 2018 (MSTN),
    https://proceedings.mlr.press/v80/xie18c.html
    """
    sq = (mu_s - mu_t).square().sum(1)
    if present is None:
        return sq.mean()
    return (sq * present).sum() / present.sum().clamp_min(1.0)


def center_loss(f: Tensor, w: Tensor, mu: Tensor, margin: float = 0.0) -> Tensor:
    """Weighted mean squared distance to the class centres, beyond a margin.

        sum_ic w_ic max(0, |f_i - mu_c|^2 - margin) / sum_ic w_ic

    f (n, d), w (n, C), mu (C, d). Wen et al., ECCV 2016; Chen et al., AAAI 2019 (JDDA),
    https://arxiv.org/abs/1808.09347
    """
    d = (squared_distances(f, mu) - margin).clamp_min(0.0)
    return (w * d).sum() / w.sum().clamp_min(_TINY)


def center_separation(mu: Tensor, margin: float, present: Tensor | None = None) -> Tensor:
    """Mean over pairs of classes of ``max(0, margin - |mu_c - mu_c'|^2)``: mu (C, d), present (C,) of 0 and 1.

    Zero for fewer than two classes. Chen et al., AAAI 2019 (JDDA), https://arxiv.org/abs/1808.09347
    """
    gap = (margin - squared_distances(mu)).clamp_min(0.0)
    there = torch.ones_like(mu[:, 0]) if present is None else present
    pairs = there[:, None] * there[None, :] * (1.0 - torch.eye(mu.shape[0], dtype=mu.dtype, device=mu.device))
    return (gap * pairs).sum() / pairs.sum().clamp_min(1.0)


def prototype_logits(f: Tensor, mu: Tensor, temperature: float | Tensor = 0.05) -> Tensor:
    """Cosine similarities to prototypes over a temperature: f (n, d), mu (C, d) -> (n, C)."""
    return functional.normalize(f, dim=-1) @ functional.normalize(mu, dim=-1).T / temperature


def supervised_contrastive(f: Tensor, w: Tensor, temperature: float | Tensor = 0.1) -> Tensor:
    """Supervised contrastive loss: f (n, d), one-hot labels w (n, C); rows without a partner of their class drop out.

        mean_i -1/|P_i| sum_{p in P_i} log( exp(z_i.z_p / T) / sum_{a != i} exp(z_i.z_a / T) ),   z = f / |f|

    Khosla et al., NeurIPS 2020, https://arxiv.org/abs/2004.11362
    """
    z = functional.normalize(f, dim=-1)
    n = z.shape[0]
    eye = torch.eye(n, dtype=z.dtype, device=z.device)
    sim = z @ z.T / temperature
    log_p = sim - torch.logsumexp(sim - 1e9 * eye, dim=1, keepdim=True)
    partners = (w @ w.T).to(z.dtype) * (1.0 - eye)
    count = partners.sum(1)
    per_row = -(partners * log_p).sum(1) / count.clamp_min(1.0)
    counted = (count > 0).to(z.dtype)
    return (per_row * counted).sum() / counted.sum().clamp_min(1.0)
