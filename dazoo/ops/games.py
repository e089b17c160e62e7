"""Further losses of adversarial games: smoothed domains, one discriminator per class, symmetric classifiers, positive
features, random classifiers. None reverses a gradient; that is ``reversal.reverse_gradient``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.discrepancy import pick

_TINY = 1e-12


def smoothed_domain_bce(logits: Tensor, n_source: int, gamma: float | Tensor, weights: Tensor | None = None) -> Tensor:
    """Domain loss whose labels are believed with probability ``gamma`` only: logits (n_s + n_t,), source rows first.

        l_i = -gamma log sigmoid(s_i z_i) - (1 - gamma) log sigmoid(-s_i z_i),   s_i = 1 for source, -1 for target
        value = 1/2 (mean over source rows of w_i l_i + mean over target rows of w_i l_i)

    ``gamma = 1`` is ``adversarial.domain_bce``. Zhang et al., ICLR 2023, https://arxiv.org/abs/2302.00194
    """
    signed = torch.cat([logits[:n_source], -logits[n_source:]])
    rows = -gamma * functional.logsigmoid(signed) - (1.0 - gamma) * functional.logsigmoid(-signed)
    if weights is not None:
        rows = rows * weights
    return 0.5 * (rows[:n_source].mean() + rows[n_source:].mean())


def classwise_domain_bce(logits: Tensor, n_source: int) -> Tensor:
    """Domain loss of each column's discriminator: logits (n_s + n_t, C), source rows first -> (C,).

        1/2 (mean over source rows of -log sigmoid(z_ic) + mean over target rows of -log sigmoid(-z_ic))

    Pei et al., AAAI 2018 (MADA), https://arxiv.org/abs/1809.02176
    """
    source = -functional.logsigmoid(logits[:n_source]).mean(0)
    target = -functional.logsigmoid(-logits[n_source:]).mean(0)
    return 0.5 * (source + target)


def domain_error(logits: Tensor, n_source: int, weights: Tensor | None = None) -> Tensor:
    """Balanced error of discriminators that call a row source where their logit is positive: (n, C) -> (C,).

        1/2 (sum_{i in s} w_ic 1[z_ic <= 0] / sum_{i in s} w_ic  +  sum_{i in t} w_ic 1[z_ic > 0] / sum_{i in t} w_ic)

    weights (n, C), default 1. Without weight in a domain, that domain's error counts as one half.
    """
    w = torch.ones_like(logits) if weights is None else weights
    wrong = torch.cat([logits[:n_source] <= 0, logits[n_source:] > 0]).to(logits.dtype)

    def rate(rows: slice) -> Tensor:
        mass = w[rows].sum(0)
        missed = (w[rows] * wrong[rows]).sum(0)
        return torch.where(mass > 0, missed / mass.clamp_min(_TINY), torch.full_like(mass, 0.5))

    return 0.5 * (rate(slice(None, n_source)) + rate(slice(n_source, None)))


def a_distance_of_error(error: Tensor) -> Tensor:
    """Proxy A-distance ``2 (1 - 2 error)`` of a domain classifier's error, cut below at 0: any shape.

    Ben-David et al., 2010, https://doi.org/10.1007/s10994-009-5152-4
    """
    return (2.0 * (1.0 - 2.0 * error)).clamp_min(0.0)


def dynamic_factor(global_error: Tensor, local_errors: Tensor) -> Tensor:
    """Share of the classes' A-distance, ``mean_c d(e_c) / (d(e) + mean_c d(e_c))``: e (), e_c (C,) -> ().

    One half where both distances are 0. Yu et al., ICDM 2019 (DAAN), https://arxiv.org/abs/1909.08184
    """
    marginal, local = a_distance_of_error(global_error), a_distance_of_error(local_errors).mean()
    total = marginal + local
    return torch.where(total > 0, local / total.clamp_min(_TINY), torch.full_like(total, 0.5))


def joint_log_probs(logits_s: Tensor, logits_t: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the joint 2C-way classifier, split into its source and target halves: (n, C), (n, C).

    (log p^st_1..C, log p^st_C+1..2C) = log softmax([z_s, z_t])
    """
    log_p = functional.log_softmax(torch.cat([logits_s, logits_t], dim=-1), dim=-1)
    c = logits_s.shape[-1]
    return log_p[..., :c], log_p[..., c:]


def symmetric_domain(logits_s: Tensor, logits_t: Tensor, source: bool) -> Tensor:
    """Domain loss of the joint classifier on rows of one domain: ``-mean_i log sum_c p^st_ic`` over that domain's half.

    logits (n, C) of the source and the target classifier. Zhang et al., CVPR 2019 (SymNets),
    https://arxiv.org/abs/1904.04663
    """
    half = joint_log_probs(logits_s, logits_t)[0 if source else 1]
    return -torch.logsumexp(half, dim=-1).mean()


def category_confusion(logits_s: Tensor, logits_t: Tensor, y: Tensor) -> Tensor:
    """Category-level confusion of labelled rows, ``-1/(2n) sum_i (log p^st_{i,y_i} + log p^st_{i,y_i+C})``: y (n,).

    Zhang et al., CVPR 2019 (SymNets), https://arxiv.org/abs/1904.04663
    """
    log_s, log_t = joint_log_probs(logits_s, logits_t)
    return -0.5 * (pick(log_s, y) + pick(log_t, y)).mean()


def domain_level_confusion(logits_s: Tensor, logits_t: Tensor) -> Tensor:
    """Domain-level confusion, ``-1/(2n) sum_i (log sum_c p^st_ic + log sum_c p^st_{i,c+C})``: logits (n, C).

    Zhang et al., CVPR 2019 (SymNets), https://arxiv.org/abs/1904.04663
    """
    log_s, log_t = joint_log_probs(logits_s, logits_t)
    return -0.5 * (torch.logsumexp(log_s, dim=-1) + torch.logsumexp(log_t, dim=-1)).mean()


def merged_entropy(logits_s: Tensor, logits_t: Tensor) -> Tensor:
    """Mean entropy of the joint classifier's category probabilities, q_c = p^st_c + p^st_{c+C}: logits (n, C).

    Zhang et al., CVPR 2019 (SymNets), https://arxiv.org/abs/1904.04663
    """
    log_q = torch.logaddexp(*joint_log_probs(logits_s, logits_t))
    return -(log_q.exp() * log_q).sum(-1).mean()


def positive_features(f: Tensor, weights: Tensor) -> Tensor:
    """Features weighted by what a class reads of them, with their energy kept: f (n, d), weights (n, d) -> (n, d).

        f'_i = s_i w_i * f_i,   s_i = |f_i| / |w_i * f_i|

    w_i is the gradient of sample i's class score with respect to f_i; for a linear head the class's row of its matrix.
    s carries the gradient of f, w none. A row with w_i * f_i = 0 stays 0.
    Wei et al., NeurIPS 2021 (ToAlign), https://arxiv.org/abs/2106.10812
    """
    read = weights.detach() * f
    before, after = f.square().sum(-1, keepdim=True), read.square().sum(-1, keepdim=True)
    usable = (before > 0) & (after > 0)
    one = torch.ones_like(after)
    scale = torch.where(usable, (torch.where(usable, before, one) / torch.where(usable, after, one)).sqrt(), one)
    return scale * read


def sampled_scores(f: Tensor, mean: Tensor, spread: Tensor, bias: Tensor, noise: Tensor) -> Tensor:
    """Scores of a linear classifier drawn from a Gaussian over its weights: f (n, d) -> (n, C).

        (mean + softplus(spread - 2) * noise) f + bias,   mean, spread, noise (C, d), bias (C,)

    ``noise`` is standard normal, drawn by the caller. Lu et al., CVPR 2020 (STAR),
    https://openaccess.thecvf.com/content_CVPR_2020/html/Lu_Stochastic_Classifiers_for_Unsupervised_Domain_Adaptation_CVPR_2020_paper.html
    """
    return functional.linear(f, mean + functional.softplus(spread - 2.0) * noise, bias)
