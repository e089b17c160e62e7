"""Losses and rules of test-time adaptation: pure functions of scores and features of one batch.

Rows that a rule keeps are picked by index, since their number is part of the rule.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax, normalize

from dazoo.ops.classwise import one_hot
from dazoo.ops.entropy import entropy_of_logits


def mean_or_zero(values: Tensor, kept: Tensor, like: Tensor) -> Tensor:
    """Mean of the kept values; 0, with gradient 0 for ``like``, where none is kept."""
    return values[kept].mean() if bool(kept.any()) else 0.0 * like.sum()


# -- losses -----------------------------------------------------------------------------------------------------------


def generalised_cross_entropy(logits: Tensor, y: Tensor, q: float | Tensor) -> Tensor:
    """``1/n sum_i (1 - p_iy^q) / q``: cross-entropy as q -> 0, one minus the probability at q = 1. (n, C), (n,).

    Zhang and Sabuncu, NeurIPS 2018, https://arxiv.org/abs/1805.07836
    """
    p = logits.softmax(-1).gather(1, y[:, None]).squeeze(1)
    return ((1.0 - p.pow(q)) / q).mean()


def symmetric_cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    """``-1/2 sum_c (q_c log p_c + p_c log q_c)`` per row, p = softmax(x), q = softmax(y): (n, C), (n, C) -> (n,)."""
    log_p, log_q = log_softmax(x, -1), log_softmax(y, -1)
    return -0.5 * (log_q.exp() * log_p + log_p.exp() * log_q).sum(-1)


def timely_cross_entropy(logits: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """``1/n sum_i w_i CE(softmax(teacher_i), logits_i)`` with no gradient through the teacher: (n, C), (n, C), (n,).

    Yuan et al., CVPR 2023 (RoTTA), https://arxiv.org/abs/2303.13899
    """
    return -(weights * (teacher.detach().softmax(-1) * log_softmax(logits, -1)).sum(-1)).mean()


def soft_likelihood_ratio(logits: Tensor, most: float = 0.99, eps: float = 1e-5) -> Tensor:
    """``-sum_c p_c log(p_c / (1 - p_c) + eps)`` per row, p = min(softmax, most): (n, C) -> (n,).

    Its gradient does not vanish for sure rows as that of the entropy does. Marsden et al., WACV 2024 (ROID),
    https://arxiv.org/abs/2306.00650
    """
    p = logits.softmax(-1).clamp(max=most)
    return -(p * torch.log(p / (1.0 - p) + eps)).sum(-1)


def reliable_entropy(
    logits: Tensor, mean: Tensor, margin: float | Tensor, redundancy: float | Tensor, weighted: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """EATA's loss: entropy of rows that are sure, and unlike what was kept before.

        kept: H_i < margin and |cos(p_i, mean)| < redundancy
        loss = mean over kept of exp(margin - H_i) H_i,   mean <- 0.9 mean + 0.1 (mean over kept of p_i)

    No gradient through the weights. Niu et al., ICML 2022, https://arxiv.org/abs/2204.02610

    Args:
        logits: (n, C). mean: (C,), all zero before any row was kept, which the first kept rows then replace.

    Returns:
        The loss, which rows (n,) were kept, and the new mean (C,).
    """
    h, p = entropy_of_logits(logits), logits.detach().softmax(-1)
    kept = (h.detach() < margin) & (cosine_similarity(p, mean[None]).abs() < redundancy)
    values = torch.exp(margin - h.detach()) * h if weighted else h
    if bool(kept.any()):
        new = p[kept].mean(0)
        mean = 0.9 * mean + 0.1 * new if bool(mean.any()) else new
    return mean_or_zero(values, kept, logits), kept, mean


def shape_dependent_entropy(
    logits: Tensor, destroyed: Tensor, margin: float | Tensor, scale: float | Tensor, drop: float | Tensor
) -> tuple[Tensor, Tensor]:
    """DeYO's loss: entropy of rows that are sure, and less so once their shape is destroyed.

        kept: H_i < margin and d_i = p_iy - p'_iy > drop,   y = argmax p_i
        loss = mean over kept of (exp(scale - H_i) + exp(d_i)) H_i

    No gradient through the weights. Lee et al., ICLR 2024, https://arxiv.org/abs/2403.07366

    Args:
        logits: (n, C). destroyed: (n, C), of the same samples destroyed.

    Returns:
        The loss, and which rows (n,) were kept.
    """
    h, p = entropy_of_logits(logits), logits.detach().softmax(-1)
    y = p.argmax(-1, keepdim=True)
    d = (p.gather(1, y) - destroyed.detach().softmax(-1).gather(1, y)).squeeze(1)
    kept = (h.detach() < margin) & (d > drop)
    weights = torch.exp(scale - h.detach()) + torch.exp(d)
    return mean_or_zero(weights * h, kept, logits), kept


def certain_and_diverse(logits: Tensor, mean: Tensor, temperature: float | Tensor) -> Tensor:
    """ROID's weights (n,) of rows that are sure and of classes seen seldom, without gradient.

        w_i = exp(d_i c_i / temperature), 0 if d_i < mean d;   d_i = 1 - cos(p_i, mean),  c_i = -H_i, scaled to [0, 1]

    Marsden et al., WACV 2024, https://arxiv.org/abs/2306.00650

    Args:
        logits: (n, C). mean: (C,), moving average of the predictions.
    """
    with torch.no_grad():
        diverse = _in_unit(1.0 - cosine_similarity(logits.softmax(-1), mean[None]))
        certain = _in_unit(-entropy_of_logits(logits))
        return torch.where(diverse < diverse.mean(), 0.0, torch.exp(diverse * certain / temperature))


def _in_unit(v: Tensor) -> Tensor:
    """``v`` (n,) moved and scaled to [0, 1]; 0 where all are equal."""
    low, high = v.min(), v.max()
    return (v - low) / torch.where(high > low, high - low, torch.ones_like(high))


# -- LAME -------------------------------------------------------------------------------------------------------------


def neighbour_affinity(features: Tensor, k: int) -> Tensor:
    """W (n, n): 1 where j is one of the k nearest other rows of i by unit features (n, d), else 0; not symmetric."""
    k = min(k, len(features) - 1)
    w = torch.zeros(len(features), len(features), dtype=features.dtype, device=features.device)
    if k < 1:
        return w
    gaps = _gaps(features)
    return w.scatter_(1, gaps.fill_diagonal_(torch.inf).topk(k, largest=False).indices, 1.0)


def gaussian_affinity(features: Tensor, k: int) -> Tensor:
    """W (n, n) = ``exp(-|f_i - f_j|^2 / (2 s^2))`` of unit features (n, d), the diagonal included; s is the mean
    distance to the k-th nearest row, a row being its own first. 0 where that distance is 0."""
    gaps = _gaps(features)
    width = gaps.topk(max(1, min(k, len(gaps))), largest=False).values[:, -1].mean()
    return torch.exp(-gaps.square() / (2.0 * width.square())) if float(width) > 0 else torch.zeros_like(gaps)


def _gaps(features: Tensor) -> Tensor:
    """Euclidean distances (n, n) between unit rows."""
    unit = normalize(features, dim=-1)
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")


def laplacian_adjusted(scores: Tensor, affinity: Tensor, rounds: int = 100) -> Tensor:
    """Assignments Y (n, C) that stay near the predictions and agree with neighbours; rows sum to 1.

        min_Y  sum_i KL(y_i | p_i) - sum_ij W_ij y_i . y_j,   by   Y <- softmax(log p + W Y)

    until the energy changes by at most 1e-8 of its size, or ``rounds``. W = 0 gives p.
    Boudiaf et al., CVPR 2022 (LAME), https://arxiv.org/abs/2201.05718

    Args:
        scores: (n, C). affinity: W (n, n).
    """
    log_p = torch.log(scores.softmax(-1) + 1e-10)
    y, before = log_p.softmax(-1), 0.0
    for i in range(rounds):
        agreed = affinity @ y
        y = (log_p + agreed).softmax(-1)
        energy = float((y * (torch.log(y.clamp_min(1e-20)) - log_p - agreed)).sum())
        if i > 1 and abs(energy - before) <= 1e-8 * abs(before):
            break
        before = energy
    return y


# -- T3A --------------------------------------------------------------------------------------------------------------


def surest_rows(y: Tensor, entropy: Tensor, k: int, n_classes: int) -> Tensor:
    """Rows with the k lowest entropies of each class, in the order of entropy: y (n,), entropy (n,); 0 keeps all."""
    order = torch.argsort(entropy, stable=True)
    if not k:
        return order
    rank = one_hot(y[order], n_classes, torch.float64).cumsum(0).gather(1, y[order][:, None]).squeeze(1)
    return order[rank <= k]


def unit_prototypes(supports: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Unit rows (C, d): the direction of the sum of a class's unit supports (n, d); 0 for a class without any."""
    unit = normalize(supports, dim=-1)
    return normalize(one_hot(y, n_classes, unit.dtype).T @ unit, dim=-1)
