"""Distances between several sources and a target. Sources enter as one-hot weights, as classes do in ``classwise``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import class_means
from dazoo.ops.kernels import FIVE_SCALES, multi_gaussian, squared_distances
from dazoo.ops.moments import covariance, safe_norm


def moment_distance(fs: Tensor, ft: Tensor, w: Tensor, moments: int = 2) -> Tensor:
    """Moment distance of N sources and a target: fs (n, d), ft (m, d), w (n, N) one-hot sources.

        sum_{k<=K} [ mean_i |E s_i^k - E t^k| + mean_{i<j} |E s_i^k - E s_j^k| ]

    Means over the sources, and pairs of sources, that have rows; an empty mean is zero.
    Peng et al., ICCV 2019, https://arxiv.org/abs/1812.01754
    """
    total = fs.new_zeros(())
    for k in range(1, moments + 1):
        means, there = class_means(fs.pow(k), w)
        to_target = safe_norm(means - ft.pow(k).mean(0))
        pairs = torch.triu(there[:, None] * there[None, :], 1)
        apart = safe_norm(means[:, None, :] - means[None, :, :])
        total = total + (there * to_target).sum() / there.sum().clamp_min(1.0)
        total = total + (pairs * apart).sum() / pairs.sum().clamp_min(1.0)
    return total


def weighted_mmd(fs: Tensor, ft: Tensor, w: Tensor, scales: Sequence[float] = FIVE_SCALES) -> Tensor:
    """Unbiased squared MMD of some source rows and the target: fs (n, d), ft (m, d), w (n,) of 0 and 1, m >= 2.

        sum_{i != j} k_ss / (c (c - 1)) + sum_{i != j} k_tt / (m (m - 1)) - 2 sum_ij k_st / (c m),   over w's c rows

    Zero for fewer than two rows. The kernel is ``multi_gaussian`` around the mean squared distance of the rows that
    count. Equals ``mk_mmd`` of these rows.
    """
    m = ft.shape[0]
    count = w.sum()
    sq = squared_distances(torch.cat([fs, ft]))
    rows = torch.cat([w, torch.ones_like(ft[:, 0])])
    share = rows / rows.sum()
    k = multi_gaussian(sq, scales, mean=share @ sq @ share)
    k = k * (1.0 - torch.eye(k.shape[0], dtype=k.dtype, device=k.device))
    us, ut = torch.cat([w, torch.zeros_like(ft[:, 0])]), torch.cat([torch.zeros_like(w), torch.ones_like(ft[:, 0])])
    within_s = us @ k @ us / (count * (count - 1.0)).clamp_min(1.0)
    within_t = ut @ k @ ut / (m * (m - 1.0))
    between = us @ k @ ut / (count * m).clamp_min(1.0)
    return torch.where(count > 1, within_s + within_t - 2.0 * between, torch.zeros_like(count))


def moment_distance_as_program(s: Tensor, ft: Tensor, moments: int = 2) -> Tensor:
    """What the authors' digits program computes in the place of ``moment_distance`` for four sources: s (4, n, d),
    ft (n, d), as many rows each.

        1/6 sum_pairs [ |a - b|_F + sum_{1<k<=K} |E a^k - E b^k|_F ]

    over the ten pairs of sources 1 to 4 and the target, with (4, 2) twice and (4, 3) not at all; a, b are centred
    batches, compared row by row. Source 4 is neither centred nor raised to powers nor averaged: (n, d) against (d,).
    A recorded case for those who want these numbers; no method uses it. https://arxiv.org/abs/1812.01754
    """
    centred = [x - x.mean(0) for x in (*s[:3], ft)]
    parts = [*centred[:3], s[3], centred[3]]  # three sources, the fourth as it is, the target
    pairs = ((0, 4), (1, 4), (2, 4), (3, 4), (0, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 1))
    total = ft.new_zeros(())
    for a, b in pairs:
        total = total + torch.linalg.vector_norm(parts[a] - parts[b])
    for k in range(2, moments + 1):
        powers = [p if i == 3 else p.pow(k).mean(0) for i, p in enumerate(parts)]
        for a, b in pairs:
            total = total + torch.linalg.vector_norm(powers[a] - powers[b])
    return total / 6.0


def coral_by_source(fs: Tensor, ft: Tensor, w: Tensor) -> Tensor:
    """Mean over sources of ``|C_i - C_t|_F^2 / (4 d^2)``: fs (n, d), ft (m, d), w (n, N) one-hot sources, m >= 2.

    C_i is the sample covariance of the rows of source i; a source with fewer than two rows drops out.
    """
    d = fs.shape[1]
    counts = w.sum(0)
    means, _ = class_means(fs, w)
    centred = fs - w @ means
    c = torch.einsum("ns,nd,ne->sde", w / (counts - 1.0).clamp_min(1.0), centred, centred)
    apart = (c - covariance(ft)).square().sum((1, 2)) / (4.0 * d * d)
    there = (counts > 1).to(fs.dtype)
    return (there * apart).sum() / there.sum().clamp_min(1.0)


def smooth_worst(e: Tensor, h: Tensor, there: Tensor, mu: float | Tensor, gamma: float | Tensor) -> Tensor:
    """The soft maximum over sources ``log(sum_k exp(gamma (e_k + mu h_k))) / gamma``, shifted lest it overflow.

    e, h (N,) are the losses of classifier and discriminator per source, there (N,) of 0 and 1 says which sources count.
    As gamma grows it becomes their maximum. Zhao et al., NeurIPS 2018 (MDAN), https://arxiv.org/abs/1705.09684
    """
    return torch.logsumexp(gamma * (e + mu * h) + torch.log(there), 0) / gamma


def hard_worst(e: Tensor, h: Tensor, there: Tensor, mu: float | Tensor) -> Tensor:
    """The hard form ``max_k e_k + mu min_k h_k`` over the sources that are there; arguments as ``smooth_worst``."""
    outside = torch.log(there)
    return (e + outside).amax(0) + mu * (h - outside).amin(0)


def aggregation_weights(g: Tensor, there: Tensor, tau: float | Tensor = 1.0) -> Tensor:
    """Weights of sources (N,) that solve ``min_a sum_k a_k g_k + tau |a|_2`` over the simplex: g (N,).

        a_k = (v - g_k)_+ / sum_j (v - g_j)_+     with v such that  sum_k (v - g_k)_+^2 = tau^2

    As tau grows they become equal, as it falls to 0 the source of the smallest g takes all. Sources that are not there
    (0 in ``there``) get none. No gradient flows through them. Wen, Greiner, Schuurmans, ICML 2020 (DARN)
    """
    g = torch.where(there > 0, g, torch.full_like(g, torch.inf)).detach()
    order = g.sort().values
    kept = torch.where(order.isfinite(), order - order[0], torch.zeros_like(order))  # sums of squares stay exact
    m = torch.arange(1, len(g) + 1, dtype=g.dtype, device=g.device)
    first, second = kept.cumsum(0), kept.square().cumsum(0)
    room = first.square() - m * (second - tau * tau)
    top = (first + room.clamp_min(0.0).sqrt()) / m
    fits = order.isfinite() & (room >= 0) & (top > kept)
    v = order[0] + torch.where(fits, top, torch.full_like(top, torch.inf)).amin(0)
    mass = torch.where(g.isfinite(), (v - g).clamp_min(0.0), torch.zeros_like(g))
    return mass / mass.sum()


def perplexity_vote(z: Tensor, a: Tensor, p: Tensor) -> Tensor:
    """Probabilities (n, C) of target rows as sources vote: z (K, n), a (K,), p (K, n, C).

        sum_k S_kj p_kj / sum_k S_kj,    S_kj = -log(1 - sigmoid(z_kj)) + a_k

    z_kj is the logit by which discriminator k takes row j for one of source k, a_k its mean loss on source k.
    Equal scores S give the mean. Xu et al., CVPR 2018 (DCTN), https://arxiv.org/abs/1803.00830
    """
    score = functional.softplus(z) + a[:, None]
    return (score[..., None] * p).sum(0) / score.sum(0)[..., None]


def prototype_graph(f: Tensor, v: Tensor, there: Tensor, width: float | Tensor) -> Tensor:
    """Similarities (n, P) of samples f (n, d) with the prototypes v (P, d) that are there (P,) of 0 and 1, else 0.

        exp( -|f_i - v_j|^2 / (2 width^2 s) ),   s = mean |v_i - v_j|^2 over pairs of prototypes that are there

    No gradient flows through s. Wang et al., ECCV 2020 (LtC-MSDA), https://arxiv.org/abs/2007.08801
    """
    both = there[:, None] * there[None, :]
    s = (both * squared_distances(v.detach())).sum() / both.sum().clamp_min(1.0)
    apart = (f.square().sum(1)[:, None] + v.square().sum(1)[None, :] - 2.0 * f @ v.T).clamp_min(0.0)
    return there * torch.exp(-apart / (2.0 * width * width * s.clamp_min(1e-12)))


def relation_gap(kernel: Tensor, there: Tensor, n_domains: int) -> Tensor:
    """How unlike the relations of classes are between pairs of domains: kernel (D C, D C), domain-major, there (D C,).

        mean over pairs of blocks (i, j), (k, l) of  |K_[ij] - K_[kl]|_F / C

    Entries whose prototypes are not all there count as equal. Wang et al., ECCV 2020, https://arxiv.org/abs/2007.08801
    """
    c = kernel.shape[0] // n_domains
    blocks = kernel.view(n_domains, c, n_domains, c).transpose(1, 2).reshape(n_domains**2, c * c)
    known = (there[:, None] * there[None, :]).view(n_domains, c, n_domains, c).transpose(1, 2)
    known = known.reshape(n_domains**2, c * c)
    gap = known[:, None] * known[None, :] * (blocks[:, None] - blocks[None, :])
    return safe_norm(gap).mean() / c
