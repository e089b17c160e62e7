"""Distances between several sources and a target. Sources enter as one-hot weights, as classes do in ``classwise``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dazoo.ops.classwise import class_means
from dazoo.ops.kernels import FIVE_SCALES, multi_gaussian, squared_distances
from dazoo.ops.moments import safe_norm


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
