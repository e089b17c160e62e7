"""How well a linear classifier tells two domains apart. Numbers that steer methods: no gradients, not for losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def a_distance(fs: Tensor, ft: Tensor) -> float:
    """Proxy A-distance ``2 (1 - 2 err)`` of fs (n, d) and ft (m, d), in [0, 2].

    err is the mean of both domains' error rates under logistic regression on standardised features, each half of the
    samples judged by the classifier of the other half; below zero counts as zero. 0 where a domain has fewer than four
    samples. Ben-David et al., NIPS 2006, https://papers.nips.cc/paper/2983
    """
    n, m = len(fs), len(ft)
    if min(n, m) < 4:
        return 0.0
    margin, _ = held_out_margins(fs, ft)
    wrong = (margin > 0) != (np.arange(n + m) >= n)
    error = (wrong[:n].mean() + wrong[n:].mean()) / 2
    return float(max(0.0, 2 * (1 - 2 * error)))


def held_out_margins(fs: Tensor, ft: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds (n + m,) that a row comes from the target, and the half (n + m,) it lies in: fs (n, d), ft (m, d).

    Logistic regression on standardised features, both domains weighing one half; each half of the samples is judged by
    the classifier of the other half.
    """
    from sklearn.linear_model import LogisticRegression

    n, m = len(fs), len(ft)
    x = torch.cat([fs, ft]).detach().to("cpu", torch.float64).numpy()
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-12)
    domain = np.repeat([0, 1], [n, m])
    fold = np.concatenate([np.arange(n) % 2, np.arange(m) % 2])
    margin = np.empty(n + m)
    for half in (0, 1):
        learner = LogisticRegression(class_weight="balanced", max_iter=200, tol=1e-3)
        learner.fit(x[fold == half], domain[fold == half])
        margin[fold != half] = learner.decision_function(x[fold != half])
    return margin, fold


def conditional_share(fs: Tensor, ft: Tensor, ys: Tensor, yt: Tensor, n_classes: int) -> float:
    """Share of the conditional shift, ``mu = 1 - A / (A + sum_c A_c)`` in [0, 1]; 1/2 where nothing is left of either.

    A is ``a_distance(fs, ft)``, A_c that of the rows of class c, ys (n,), yt (m,) (predicted). Wang et al., TIST 2020,
    https://arxiv.org/abs/1909.08531
    """
    marginal = a_distance(fs, ft)
    conditional = sum(a_distance(fs[ys == c], ft[yt == c]) for c in range(n_classes))
    total = marginal + conditional
    return 1.0 - marginal / total if total > 0 else 0.5
