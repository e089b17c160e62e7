"""Which unlabelled samples are worth a label: strategies as functions of scores and features, which return positions.

Everywhere: scores (m, C) are logits, features (m, d), ``n`` of m positions are returned, ties in favour of the first.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from dazoo.ops.entropy import entropy, entropy_of_logits


def highest(values: Tensor, n: int) -> Tensor:
    """Positions (n,) of the largest of ``values`` (m,), the largest first."""
    return torch.argsort(values, descending=True, stable=True)[:n]


def margin(scores: Tensor) -> Tensor:
    """Probability of the best class above the second best, (m,): near 0 where two classes compete."""
    best = scores.softmax(1).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def aada(scores: Tensor, domain: Tensor) -> Tensor:
    """AADA's importance, ``(1 - D) / D * H(p)`` (m,), D = sigmoid(domain) the probability of being a source sample.

    Su, Tsai, Sohn, Liu, Maji, Chandraker, WACV 2020, https://arxiv.org/abs/1904.07848
    """
    return torch.exp(-domain) * entropy_of_logits(scores)


def k_centre(features: Tensor, known: Tensor, n: int) -> Tensor:
    """Greedy k-centre: again and again the sample furthest from all ``known`` (k, d) and chosen ones, (n,).

    Where nothing is known, the first is the one nearest to the mean. Sener and Savarese, ICLR 2018,
    https://arxiv.org/abs/1708.00489
    """
    x = features.double()
    chosen: list[int] = []
    if len(known):
        away = torch.cdist(x, known.double()).amin(1)
    else:
        chosen.append(int((x - x.mean(0)).norm(dim=1).argmin()))
        away = (x - x[chosen[0]]).norm(dim=1)
    taken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    taken[chosen] = True
    while len(chosen) < n:
        i = int(away.masked_fill(taken, -1.0).argmax())
        chosen.append(i)
        taken[i] = True
        away = torch.minimum(away, (x - x[i]).norm(dim=1))
    return torch.tensor(chosen[:n], dtype=torch.int64)


def badge(scores: Tensor, features: Tensor, n: int, gen: Generator) -> Tensor:
    """BADGE: k-means++ seeding of the gradients of the head under the predicted labels, (n,).

        g_i = (p_i - onehot(argmax p_i)) f_i^T  (C, d);  first argmax |g_i|, then i with weight min_j |g_i - g_j|^2

    over the chosen j. Inner products of the rank-one g are products of two inner products, so no g is made. ``gen``
    draws. Ash, Zhang, Krishnamurthy, Langford, Agarwal, ICLR 2020, https://arxiv.org/abs/1906.03671
    """
    p, f = scores.double().softmax(1), features.double()
    a = p.clone()
    a[torch.arange(len(p)), p.argmax(1)] -= 1.0
    square = a.square().sum(1) * f.square().sum(1)
    chosen = [int(square.argmax())]
    away = torch.full_like(square, math.inf)
    while len(chosen) < n:
        i = chosen[-1]
        away = torch.minimum(away, (square + square[i] - 2 * (a @ a[i]) * (f @ f[i])).clamp_min(0.0))
        away[chosen] = 0.0
        # where all that is left is a copy of something chosen, any of it
        weights = away if bool(away.sum() > 0) else torch.ones_like(away).index_fill_(0, torch.tensor(chosen), 0.0)
        chosen.append(int(torch.multinomial(weights.cpu(), 1, generator=gen)))
    return torch.tensor(chosen[:n], dtype=torch.int64)


def clue_weights(scores: Tensor, temperature: float) -> Tensor:
    """CLUE's uncertainty (m,): the entropy of ``softmax(scores / temperature) + 1e-8``."""
    return entropy((scores / temperature).softmax(1) + 1e-8, eps=0)


def clue(scores: Tensor, features: Tensor, n: int, temperature: float, gen: Generator) -> Tensor:
    """CLUE: the samples nearest to n centroids of features under k-means weighted by uncertainty, (n,).

    A sample that is nearest to two centroids stands for the first, the next nearest one for the other. ``gen`` draws
    the seed of scikit-learn's k-means. Prabhu, Chandrasekaran, Saenko, Hoffman, ICCV 2021,
    https://arxiv.org/abs/2010.08666
    """
    from sklearn.cluster import KMeans

    x, w = features.double().cpu(), clue_weights(scores.double(), temperature).cpu()
    seed = int(torch.randint(2**31 - 1, (1,), generator=gen))
    # fewer different samples than centroids: the rest of the question goes to any of them
    k = min(n, len(torch.unique(x, dim=0)))
    w = w if bool(w.sum() > 0) else torch.ones_like(w)
    centres = KMeans(k, random_state=seed, n_init=1).fit(x.numpy(), sample_weight=w.numpy()).cluster_centers_
    order = torch.cdist(torch.from_numpy(centres).double(), x).argsort(dim=1, stable=True)
    chosen: dict[int, None] = {}
    for nearest in order.T.tolist():  # the nearest to each centroid, then the second nearest
        for i in nearest:
            if len(chosen) < n:
                chosen.setdefault(i)
    return torch.tensor(list(chosen), dtype=torch.int64)


def free_energy(scores: Tensor) -> Tensor:
    """Free energy ``-log sum_c exp(s_c)`` (m,): high for samples unlike those that a classifier was trained on."""
    return -torch.logsumexp(scores, 1)


def eada(scores: Tensor, n: int, first: float, total: int) -> Tensor:
    """EADA: of the ``first`` (share of ``total``) samples of highest free energy the n whose best two scores are
    closest, (n,).

    Xie, Yuan, Li, Liu, Cheng, Wang, AAAI 2022, https://arxiv.org/abs/2112.01406
    """
    odd = highest(free_energy(scores), max(n, math.ceil(first * total)))
    best = scores[odd].topk(2, dim=1).values
    return odd[highest(best[:, 1] - best[:, 0], n)]


def energy_alignment(scores_s: Tensor, scores_t: Tensor) -> Tensor:
    """EADA's alignment: ``1/m sum_i max(0, F(x_t,i) - mean_j F(x_s,j))`` F the free energy; the mean stands still."""
    return (free_energy(scores_t) - free_energy(scores_s).mean().detach()).clamp_min(0.0).mean()
