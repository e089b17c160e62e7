"""Weights of source samples, and losses with them, for targets that hold only some of the source's classes.

Weights carry no gradient. None of the losses reverses a gradient; that is ``reversal.reverse_gradient``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.ops.adversarial import domain_bce_rows
from dazoo.ops.classwise import one_hot

_TINY = 1e-12


def mean_prediction(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """How much of each class is predicted, ``mean_i softmax(logits_i / T)``: (n, C) -> (C,), sum 1. No gradient."""
    return functional.softmax(logits.detach() / temperature, dim=-1).mean(0)


def class_weights(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``mean_prediction`` of target logits (n, C) divided by its largest entry, (C,).

    Cao et al., ECCV 2018 (PADA), https://arxiv.org/abs/1808.04205
    """
    w = mean_prediction(logits, temperature)
    return w / w.max()


def weighted_cross_entropy(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """``sum_i w_i CE_i / sum_i w_i``: logits (n, C), y (n,), w (n,) >= 0; zero where all weights are."""
    rows = functional.cross_entropy(logits, y, reduction="none")
    return (w * rows).sum() / w.sum().clamp_min(_TINY)


def unit_mean(log_w: Tensor, eps: float = 0.0) -> Tensor:
    """Weights ``w_i / (mean_j w_j + eps)`` from their logarithms (n,): (n,). No gradient.

    With ``eps = 0`` their mean is 1 however small all of them are.
    """
    log_w = log_w.detach()
    if eps == 0:
        return functional.softmax(log_w, dim=0) * log_w.shape[0]
    w = log_w.exp()
    return w / (w.mean() + eps)


def outlier_weights(logits: Tensor, eps: float = 0.0) -> Tensor:
    """Weights of source rows that a domain discriminator takes for target: ``(1 - D_i) / (mean_j (1 - D_j) + eps)``.

    logits (n,) of D = sigmoid(logits), source as 1 -> (n,). No gradient.
    Zhang et al., CVPR 2018 (IWAN), https://arxiv.org/abs/1803.09210
    """
    return unit_mean(functional.logsigmoid(-logits), eps)


def leaky_log_softmax(a: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of ``q_c = e^{a_c} / (C + sum_k e^{a_k})`` and of what is missing to 1: (n, C) -> (n, C), (n,).

    Cao et al., CVPR 2019 (ETN), https://arxiv.org/abs/1903.12230
    """
    rest = torch.full_like(a[..., :1], math.log(a.shape[-1]))
    out = functional.log_softmax(torch.cat([a, rest], dim=-1), dim=-1)
    return out[..., :-1], out[..., -1]


def leaky_one_vs_rest(a: Tensor, onehot: Tensor) -> Tensor:
    """Each class's cross-entropy under the leaky softmax, summed over classes: a (n, C), onehot (n, C).

        1/n sum_i sum_c [-y_ic log q_ic - (1 - y_ic) log(1 - q_ic)],   q of ``leaky_log_softmax``

    Cao et al., CVPR 2019 (ETN), https://arxiv.org/abs/1903.12230
    """
    n_classes = a.shape[-1]
    log_q, log_rest = leaky_log_softmax(a)
    same = torch.eye(n_classes, dtype=torch.bool, device=a.device)
    # log(1 - q_c) from the other terms, exact where q_c is all but 1
    others = torch.where(same, torch.full_like(a[..., :1], -math.inf)[..., None], log_q[..., None, :])
    log_not = torch.logsumexp(torch.cat([others, log_rest[..., None, None].expand_as(others[..., :1])], -1), -1)
    return -(onehot * log_q + (1.0 - onehot) * log_not).sum(-1).mean()


def leaky_domain_bce(a_source: Tensor, a_target: Tensor) -> Tensor:
    """Domain loss with ``G = sum_c q_c`` of the leaky softmax as the probability of source: (n, C), (m, C).

        mean over source rows of -log G_i  +  mean over target rows of -log(1 - G_i)

    Cao et al., CVPR 2019 (ETN), https://arxiv.org/abs/1903.12230
    """
    source, _ = leaky_log_softmax(a_source)
    _, rest = leaky_log_softmax(a_target)
    return -torch.logsumexp(source, dim=-1).mean() - rest.mean()


def transferability(a: Tensor, eps: float = 0.0) -> Tensor:
    """Weights of source rows that look like target, ``(1 - G_i) / (mean_j (1 - G_j) + eps)``: a (n, C) -> (n,).

    G is the sum of the leaky softmax's probabilities. Cao et al., CVPR 2019 (ETN), https://arxiv.org/abs/1903.12230
    """
    return unit_mean(leaky_log_softmax(a)[1], eps)


def selected_domain_bce(logits: Tensor, n_source: int, p: Tensor, share: Tensor) -> Tensor:
    """Domain loss of one discriminator per class, each on the rows and in the measure that its class is predicted.

        1/2 sum_c share_c (mean over source rows of p_ic BCE(z_ic, 1) + mean over target rows of p_ic BCE(z_ic, 0))

    logits z (n_s + n_t, C), source rows first, p (n_s + n_t, C), share (C,); p and share are taken as constants.
    Cao et al., CVPR 2018 (SAN), https://arxiv.org/abs/1707.07901
    """
    rows = torch.cat([-functional.logsigmoid(logits[:n_source]), -functional.logsigmoid(-logits[n_source:])])
    rows = (p.detach() * rows * share.detach()).sum(-1)
    return 0.5 * (rows[:n_source].mean() + rows[n_source:].mean())


def complement_entropy(logits: Tensor, y: Tensor, w: Tensor, alpha: float | Tensor = 1.0) -> Tensor:
    """Weighted, scaled and negative entropy of the predictions of all classes but the right one, to be minimised.

        g_i = 1 - p_i,y_i + 1e-7,   c_ik = p_ik / g_i  for k != y_i
        value = sum_i u_i sum_k c_ik log(c_ik + 1e-10) / (ln(C - 1) sum_i u_i),   u_i = w_i g_i^alpha  (no gradient)

    Zero for two classes, where one is left. Liang et al., ECCV 2020 (BA3US), https://arxiv.org/abs/2003.02541

    Args:
        logits: (n, C). y: (n,) labels. w: (n,) weights of the rows.
        alpha: how much more uncertain rows count.
    """
    n_classes = logits.shape[-1]
    others = functional.softmax(logits, dim=-1) * (1.0 - one_hot(y, n_classes, logits.dtype))
    g = others.sum(-1) + 1e-7
    c = others / g[..., None]
    rows = (c * torch.log(c + 1e-10)).sum(-1) / max(math.log(max(n_classes - 1, 1)), _TINY)
    if n_classes < 3:
        rows = 0.0 * rows
    u = w * g.detach() ** alpha
    return (u * rows).sum() / u.sum().clamp_min(_TINY)


def borrowed_domain_bce(
    logits: Tensor, n_source: int, n_target: int, w: Tensor, borrowed: float, *, saturate: bool = False
) -> Tensor:
    """Domain loss where some source rows stand on the target's side: rows of source, target, then borrowed source.

        v_i = (1 + borrowed) w_i / sum of w over source and borrowed rows,   for these rows
        v_i = w_i / sum of w over target rows,                             for target rows
        value = sum_i v_i BCE(z_i, 1[i is one of the first n_s rows]) / (sum_i v_i + 1e-8)

    Liang et al., ECCV 2020 (BA3US), https://arxiv.org/abs/2003.02541

    Args:
        logits: discriminator outputs z (n_s + n_t + m,).
        n_source: number n_s of source rows. n_target: number n_t of target rows.
        w: row weights (n_s + n_t + m,) >= 0, taken as constants.
        borrowed: how much the borrowed rows weigh for one source's worth; m / n_s where each counts fully.
        saturate: see ``adversarial.domain_bce_rows``.
    """
    w = w.detach()
    from_source = torch.ones_like(w)
    from_source[n_source : n_source + n_target] = 0.0
    ours, theirs = w * from_source, w * (1.0 - from_source)
    v = (1.0 + borrowed) * ours / ours.sum().clamp_min(_TINY) + theirs / theirs.sum().clamp_min(_TINY)
    rows = domain_bce_rows(logits, n_source, saturate=saturate)
    return (v * rows).sum() / (v.sum() + 1e-8)


def weights_in_budget(d: Tensor, budget: float, level: float = -math.inf) -> Tensor:
    """The weights that bring the weighted mean of d closest to ``level`` from above, within a budget of change.

        min_w mean_i w_i d_i   over w >= 0,  mean_i w_i = 1,  mean_i (w_i - 1)^2 <= budget,  mean_i w_i d_i >= level

    d (n,) -> (n,) float64. They are ``w_i = max(0, v - d_i)`` scaled to mean 1, with v found by bisection; where
    nothing binds, all weight is on the smallest d, and where the mean is at ``level`` already, all weights are 1.
    Adding to d and ``level`` or scaling both changes nothing.
    Gu et al., NeurIPS 2021 (AR), https://openreview.net/forum?id=V7Zp2w3f3o5
    """
    if budget < 0:
        raise DazooError(f"the budget of the weights must not be negative, not {budget}")
    d = d.detach().double()
    least = float(d.min())
    d = d - least
    spread = float(d.max())
    if budget == 0 or not spread > 0 or float(d.mean()) + least <= level:
        return torch.ones_like(d)
    d, level = d / spread, (level - least) / spread

    def weights(v: float) -> Tensor:
        w = (v - d).clamp_min(0.0)
        return w / w.mean()

    def too_much(v: float) -> bool:
        w = weights(v)
        return float((w - 1.0).square().mean()) > budget or float((w * d).mean()) < level

    low, high = 1e-9, 1e9  # of v: everything on the smallest, equal weights
    if not too_much(low):
        return weights(low)
    for _ in range(100):
        middle = math.sqrt(low * high)
        if too_much(middle):
            low = middle
        else:
            high = middle
    return weights(high)
