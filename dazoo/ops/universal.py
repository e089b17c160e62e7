"""Weights and losses where either domain may hold classes of its own: pure functions of scores, features and banks.

Weights carry no gradient. None of the losses reverses a gradient; that is ``reversal.reverse_gradient``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.entropy import entropy, entropy_of_logits

_TINY = 1e-30


def entropy_share(logits: Tensor, temperature: float | Tensor = 1.0, eps: float = 0.0) -> Tensor:
    """Entropy of ``softmax(logits / T)`` as a share of the largest, ``H / ln C`` in [0, 1]: (n, C) -> (n,).

    ``eps`` stands inside the logarithm; with 0 it is exact. Zero for a single class.
    """
    scaled = logits / temperature
    h = entropy_of_logits(scaled) if eps == 0 else entropy(functional.softmax(scaled, -1), eps)
    return h / math.log(max(logits.shape[-1], 2))


def unit_range(x: Tensor) -> Tensor:
    """``(x - min) / (max - min)`` over x (n,); zeros where all are equal."""
    width = x.max() - x.min()
    return torch.where(width > 0, (x - x.min()) / torch.where(width > 0, width, torch.ones_like(width)), 0.0)


def batch_weights(x: Tensor) -> Tensor:
    """Weights of a batch from any scores: ``unit_range`` over its mean, x (n,) -> (n,) with mean 1. No gradient.

    Where all scores are equal nothing tells the rows apart and every weight is 1.
    """
    scaled = unit_range(x.detach())
    mean = scaled.mean()
    return torch.where(mean > 0, scaled / mean.clamp_min(_TINY), torch.ones_like(scaled))


def private_score(logits: Tensor, d: Tensor, temperature: float | Tensor = 1.0, eps: float = 0.0) -> Tensor:
    """How much a row looks like a class of its own domain only, ``H(softmax(l / T)) / ln C - d``: (n, C), (n,) -> (n,).

    d is the probability of "source" by a discriminator that nobody deceives. It weighs source rows; target rows weigh
    by its negative. You et al., CVPR 2019 (UAN)
    """
    return entropy_share(logits, temperature, eps) - d


def ensemble_uncertainty(logits: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Entropy, inconsistency and confidence (n,) each of m classifiers: logits (m, n, C).

        1/m sum_k H(p_k,i) / ln C,   1/C sum_c std_k p_k,ic (unbiased),   1/m sum_k max_c p_k,ic

    Fu et al., ECCV 2020 (CMU)
    """
    p = functional.softmax(logits, -1)
    return entropy_share(logits, eps=eps).mean(0), p.std(0).mean(-1), p.amax(-1).mean(0)


def neighbourhood_entropy(
    logits: Tensor, f: Tensor, rows: Tensor, bank: Tensor, temperature: float | Tensor = 0.05, eps: float = 0.0
) -> Tensor:
    """Mean entropy of whom a target row is like: the classes, the bank's samples or the batch's.

        q_i = softmax([l_i, f_i B^T / T, f_i f_j^T / T]),   value = 1/b sum_i H(q_i)

    without itself: the diagonal, and the batch's rows of the bank for every i, count as similarity -1.
    Saito et al., NeurIPS 2020 (DANCE), https://arxiv.org/abs/2002.07953

    Args:
        logits: similarities to the classes over T (b, C). f: features (b, d), unit-normalised inside.
        rows: the batch's rows in the bank (b,). bank: unit features (N, d).
    """
    z = functional.normalize(f, dim=-1)
    own = (torch.arange(bank.shape[0], device=rows.device)[:, None] == rows).any(1)
    far = -1.0 / temperature
    to_bank = torch.where(own, far, z @ bank.T / temperature)
    eye = torch.eye(z.shape[0], dtype=torch.bool, device=z.device)
    to_batch = torch.where(eye, far, z @ z.T / temperature)
    both = torch.cat([logits, to_bank, to_batch], 1)
    return (entropy_of_logits(both) if eps == 0 else entropy(functional.softmax(both, -1), eps)).mean()


def entropy_separation(
    logits: Tensor, threshold: float | Tensor, margin: float | Tensor, eps: float = 0.0, floor: bool = False
) -> Tensor:
    """Entropies pushed away from a threshold, where they are beyond a margin already: logits (n, C), to be minimised.

        -1/n sum_i 1[|H(p_i) - threshold| > margin] |H(p_i) - threshold|

    ``floor`` counts rows within the margin as ``margin``, as the authors' program does; gradients are the same.
    Saito et al., NeurIPS 2020 (DANCE), https://arxiv.org/abs/2002.07953
    """
    h = entropy_of_logits(logits) if eps == 0 else entropy(functional.softmax(logits, -1), eps)
    gap = (h - threshold).abs()
    inside = torch.as_tensor(margin if floor else 0.0, dtype=gap.dtype, device=gap.device)
    return -torch.where(gap > margin, gap, inside).mean()


def balanced_assignment(s: Tensor, eps: float | Tensor = 0.05, rounds: int = 3) -> Tensor:
    """Soft assignment of rows to prototypes of about equal size: s (B, K) -> (B, K), rows sum to 1/B. No gradient.

        Q = exp(s / eps);   ``rounds`` times: columns to sum 1/K, then rows to sum 1/B

    In the log domain. Caron et al., NeurIPS 2020 (SwAV), https://arxiv.org/abs/2006.09882
    """
    log_q = s.detach() / eps
    for _ in range(rounds):
        log_q = log_q - log_q.logsumexp(0, keepdim=True)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    if not rounds:
        return (log_q - log_q.logsumexp((0, 1))).exp()
    return log_q.exp() / s.shape[0]


def class_potentials(
    s: Tensor,
    b: Tensor,
    a: Tensor | None = None,
    start: Tensor | None = None,
    *,
    reg: float = 0.01,
    mass: float = 0.5,
    rounds: int = 1000,
    tolerance: float = 1e-9,
) -> Tensor:
    """Potentials g (K,) of the classes in the unbalanced entropic transport of rows to them, up to a constant.

        argmin_Q <Q, -s> + reg KL(Q | a b^T) + mass (KL(Q 1 | a) + KL(Q^T 1 | b)),   Q of ``row_plan`` up to a factor

    By scaling, in the log domain where exponentials could leave double precision. A constant added to g scales Q as a
    whole, so g has mean 0 and the iteration stops when that settles. ``mass = inf`` demands the marginals (balanced
    transport).
    Chang et al., NeurIPS 2022 (UniOT), https://arxiv.org/abs/2210.17067

    Args:
        s: similarities (n, K). b: share of every class (K,). a: share of every row (n,), default equal.
        start: potentials to begin from (K,), default 0.
    """
    damped = 1.0 if math.isinf(mass) else mass / (mass + reg)
    log_b = b.clamp_min(_TINY).log()
    log_a = -math.log(len(s)) if a is None else a.clamp_min(_TINY).log()[:, None]
    g = torch.zeros_like(b) if start is None else start.to(b)
    if float(s.max() - s.min()) < 300.0 * reg:  # products of kernel and scalings stay finite: a tenth of the time
        kernel, wa, v = ((s - s.max()) / reg).exp(), torch.as_tensor(log_a).exp(), (g / reg).exp()
        for _ in range(rounds):
            u = (kernel @ (b * v)).pow(-damped)
            log_v = -damped * (kernel.T @ (wa * u[:, None])).squeeze(1).log()
            log_v = log_v - log_v.mean()
            moved, v = (log_v - v.log()).abs().max(), log_v.exp()
            if moved <= tolerance:
                break
        return reg * v.log()
    for _ in range(rounds):
        f = -damped * reg * torch.logsumexp((g + s) / reg + log_b, 1, keepdim=True)
        new = -damped * reg * torch.logsumexp((f + s) / reg + log_a, 0)
        new = new - new.mean()
        moved, g = (new - g).abs().max(), new
        if moved <= tolerance * reg:
            break
    return g


def row_plan(s: Tensor, g: Tensor, b: Tensor, *, reg: float = 0.01, mass: float = 0.5) -> Tensor:
    """``log(Q_ij / a_i)`` up to a constant: similarities s (n, K), potentials g and shares b (K,) -> (n, K).

    A row's entries depend on that row alone, so the plan that was solved on some samples says what others would get.
    """
    damped = 1.0 if math.isinf(mass) else mass / (mass + reg)
    inner = (g + s) / reg + b.clamp_min(_TINY).log()
    return inner - damped * torch.logsumexp(inner, 1, keepdim=True)


def soft_pseudo_loss(logits: Tensor, y: Tensor, eps: float = 0.0) -> Tensor:
    """Cross-entropy with soft labels, ``-1/n sum_i sum_c y_ic log(p_ic + eps)``: logits (n, C), y (n, C)."""
    if eps == 0:
        return -(y * functional.log_softmax(logits, -1)).sum(-1).mean()
    return -(y * torch.log(functional.softmax(logits, -1) + eps)).sum(-1).mean()
