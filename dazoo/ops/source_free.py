"""What adaptation without source samples computes from scores and features: labels, weights, mixtures, soft targets."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import class_means, normalised, one_hot
from dazoo.ops.entropy import entropy

_TINY = 1e-30


def two_means(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best split of numbers x (n,) in two clusters by squared distance: both centres (), and who is high (n,).

    All n - 1 splits of the sorted numbers are compared, so there is no start to depend on. Where all numbers are equal
    none is high.
    """
    order = x.sort().values
    n = len(x)
    if n < 2:
        return x.mean(), x.mean(), torch.zeros_like(x, dtype=torch.bool)
    # moments about the mean: sums of squares of numbers that are far from zero would cancel
    centred = order - x.mean()
    left = centred.cumsum(0)[:-1]
    size = torch.arange(1, n, device=x.device, dtype=x.dtype)
    gain = left.square() / size + left.square() / (n - size)  # the sum of all is zero
    cut = int(gain.argmax())
    low, high = order[: cut + 1].mean(), order[cut + 1 :].mean()
    return low, high, (x > order[cut]) & (high > low)


def unknown_split(p: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Known and unknown rows of p (n, C): normalised entropies (n,), the threshold (), and which are unknown (n,).

        h_i = H(p_i) / log C;   unknown is the cluster of larger entropy of ``two_means``, threshold the centres' mean

    Liang et al., ICML 2020 (SHOT, open set), https://arxiv.org/abs/2002.08546
    """
    h = entropy(p, eps) / math.log(p.shape[-1])
    low, high, unknown = two_means(h)
    return h, (low + high) / 2.0, unknown


def gaussian_posterior(f: Tensor, w: Tensor, spread: Tensor, eps: float | Tensor) -> Tensor:
    """Log posterior (n, C) of one Gaussian per class, fitted to f (n, d).

        mu_c = sum_i w_ic f_i / sum_i w_ic,  S_c = sum_i v_ic (f_i - mu_c)(f_i - mu_c)^T / sum_i v_ic + eps I
        log q_ic = log N(f_i | mu_c, S_c) + log sum_i w_ic,  less its log-sum-exp over c

    w (n, C) weights of means and priors, v = ``spread`` (n, C) of covariances. Where rounding leaves S_c without a
    Cholesky factor, 100 eps are added once more.
    """
    d = f.shape[-1]
    eye = torch.eye(d, dtype=f.dtype, device=f.device)
    mass = w.sum(0)
    mu = (w.T @ f) / mass.clamp_min(_TINY)[:, None]
    rows = []
    for c in range(w.shape[1]):
        away = f - mu[c]
        v = spread[:, c]
        s = (away * v[:, None]).T @ away / v.sum().clamp_min(_TINY) + eps * eye
        factor, failed = torch.linalg.cholesky_ex(s)
        if bool(failed):
            factor = torch.linalg.cholesky(s + 100.0 * eps * eye)
        z = torch.linalg.solve_triangular(factor, away.T, upper=False)
        logdet = 2.0 * factor.diagonal().log().sum()
        rows.append(-0.5 * (d * math.log(2.0 * math.pi) + logdet + z.square().sum(0)) + mass[c].log())
    return functional.log_softmax(torch.stack(rows, 1), dim=1)


def jmds(f: Tensor, p: Tensor, eps: float | Tensor = 1e-5) -> tuple[Tensor, Tensor]:
    """Joint model-data structure scores: posterior (n, C) and weights (n,) in [0, 1] of target samples.

        q: ``gaussian_posterior`` of unit features, twice: first w = p and one shared weighting of the spread, then
        w = v = q;   weight_i = LPG_i p_i,argmax q_i,   LPG_i = (largest - second largest log q_i) / max_j of the same

    f (n, d), p (n, C) of the model. Lee et al., ICML 2022 (CoWA-JMDS), https://proceedings.mlr.press/v162/lee22c.html
    """
    unit, p = functional.normalize(f, dim=-1), p.to(f.dtype)
    first = gaussian_posterior(unit, p, torch.ones_like(p), eps).exp()
    log_q = gaussian_posterior(unit, first, first, eps)
    top = log_q.topk(2, dim=1).values
    gap = top[:, 0] - top[:, 1]
    # a posterior that is zero for all classes but one is as sure as can be
    gap = gap.nan_to_num(posinf=torch.finfo(gap.dtype).max)
    weight = gap / gap.max().clamp_min(_TINY) * p.gather(1, log_q.argmax(1, keepdim=True)).squeeze(1)
    return log_q.exp(), weight


def mixed_scores(logits: Tensor, w: Tensor) -> Tensor:
    """Weighted mean of the scores of K models: logits (K, n, C), w (n, K) >= 0 -> (n, C).

        sum_k w_ik / sum_l w_il  l_kic;   equal weights where a row's are all zero

    Ahmed et al., CVPR 2021 (DECISION), https://arxiv.org/abs/2104.01845
    """
    total = w.sum(1, keepdim=True)
    share = torch.where(total > 0, w / total.clamp_min(_TINY), torch.full_like(w, 1.0 / w.shape[1]))
    return torch.einsum("nk,knc->nc", share, logits)


def top_smoothed(q: Tensor, top: int) -> Tensor:
    """Probabilities q (n, C) whose ``top`` largest entries stay, the others share equally what is left.

    Liang et al., CVPR 2022 (DINE), https://arxiv.org/abs/2104.01539
    """
    c = q.shape[-1]
    top = min(top, c)
    if top == c:
        return q
    keep = torch.zeros_like(q).scatter(-1, q.topk(top, dim=-1).indices, 1.0)
    rest = (1.0 - (keep * q).sum(-1, keepdim=True)) / (c - top)
    return keep * q + (1.0 - keep) * rest


def soft_target_kl(logits: Tensor, q: Tensor) -> Tensor:
    """``1/n sum_i KL(q_i || softmax(logits_i))``: scores (n, C), probabilities (n, C)."""
    return (torch.special.xlogy(q, q) - q * functional.log_softmax(logits, -1)).sum(-1).mean()


def negative_learning(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """``-1/n sum_i w_i log(1 - softmax(logits_i)_{y_i})``, the logarithm from 1e-5 on: (n, C), (n,), (n,).

    A row is told what it is not. Kim et al., ICCV 2019, https://arxiv.org/abs/1908.07387
    """
    p = functional.softmax(logits, -1).gather(-1, y[:, None]).squeeze(-1)
    return -(w * torch.log((1.0 - p).clamp_min(1e-5))).mean()


def anchored_labels(f: Tensor, p: Tensor, own: float) -> Tensor:
    """Labels (n,) of samples moved towards confident ones: features f (n, d), probabilities p (n, C).

        u_i = [f_i, 1] / | . |,   mu_c = sum_i p_ic u_i / sum_i p_ic,   y = nearest mu by cosine
        v_i = own u_i + (1 - own) u_j,   j != i the most similar confident sample;   labels: nearest of v's means by y

    Not confident is a sample for which both the gap of its two largest similarities to centroids and that of its two
    largest probabilities are below the median. Dong et al., NeurIPS 2021 (CAiDA)
    """
    c = p.shape[-1]
    unit = functional.normalize(torch.cat([f, torch.ones_like(f[:, :1])], 1), dim=-1)
    sim = unit @ functional.normalize(class_means(unit, p)[0], dim=-1).T
    near, sure = sim.topk(2, dim=1).values, p.topk(2, dim=1).values
    gaps = [top[:, 0] - top[:, 1] for top in (near, sure)]
    confident = torch.stack([gap >= gap.median() for gap in gaps]).any(0)
    others = (unit @ unit.T).masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf)
    anchor = others.masked_fill(~confident, -2.0).argmax(1)  # below every cosine, above what is barred
    moved = own * unit + (1.0 - own) * unit[anchor]
    centres, taken = class_means(moved, one_hot(sim.argmax(1), c, f.dtype))
    found = functional.normalize(moved, dim=-1) @ functional.normalize(centres, dim=-1).T
    return found.masked_fill(taken == 0, -torch.inf).argmax(1)


def class_relations(scores: Tensor, y: Tensor) -> Tensor:
    """Disagreement of models about how classes relate: scores (S, n, C), labels y (n,).

        1/(C S) sum_c sum_{s,r} [KL(q_sc || q_rc) + KL(q_rc || q_sc)] / 2,   q_sc = softmax(mean_{i: y_i = c} scores_si)

    over classes that occur. Dong et al., NeurIPS 2021 (CAiDA)
    """
    s, _, c = scores.shape
    share, present = normalised(one_hot(y, c, scores.dtype))
    log_q = functional.log_softmax(torch.einsum("nc,snk->sck", share, scores), -1)
    q = log_q.exp()
    # sum_{s,r} sum_k q_s (log q_s - log q_r), which pairs in both directions make symmetric
    per_class = s * (q * log_q).sum((0, 2)) - (q.sum(0) * log_q.sum(0)).sum(-1)
    return (present * per_class).sum() / (c * s)


def easy_rows(p: Tensor) -> Tensor:
    """Which rows of p (n, C) are easy (n,): of each predicted class the share of lowest entropy, rounded down.

    The share is that of all rows whose entropy is below the mean. Liang et al., TPAMI 2021 (SHOT++),
    https://arxiv.org/abs/2012.07297
    """
    h, y = entropy(p), p.argmax(-1)
    share = float((h < h.mean()).double().mean())
    easy = torch.zeros_like(y, dtype=torch.bool)
    for c in y.unique():
        rows = torch.nonzero(y == c).squeeze(1)
        easy[rows[h[rows].argsort(stable=True)[: int(len(rows) * share)]]] = True
    return easy


def lower_gaussian(x: Tensor, rounds: int = 10, spread: float = 5e-4) -> Tensor:
    """Probabilities (n,) that numbers x (n,) belong to the lower of two Gaussians, fitted by expectation maximisation.

    Numbers are scaled to [0, 1] first, ``spread`` is added to variances, and the best two clusters are the start. Where
    all numbers are equal, all belong to it. Li et al., ICLR 2020 (DivideMix), https://arxiv.org/abs/2002.07394
    """
    size = x.max() - x.min()
    if size <= 0:
        return torch.ones_like(x)
    x = (x - x.min()) / size
    r = (~two_means(x)[2]).to(x.dtype)
    for _ in range(rounds):
        w = torch.stack([r, 1.0 - r])
        mass = w.sum(1).clamp_min(_TINY)
        mean = (w @ x) / mass
        var = (w * (x - mean[:, None]).square()).sum(1) / mass + spread
        log_q = mass.log()[:, None] - 0.5 * (var.log()[:, None] + (x - mean[:, None]).square() / var[:, None])
        r = log_q.softmax(0)[int(mean.argmin())]
    return r
