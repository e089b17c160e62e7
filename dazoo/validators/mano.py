"""MaNo: the norm of the normalised matrix of target scores.

    Q_i = g(s_i) / sum_c g(s_i)_c,   V = ( (1/(n C)) sum_ic |Q_ic|^4 )^(1/4)

g = exp (softmax) where predictions are confident on average, Phi > 5 with Phi = -(1/(n C)) sum_ic log softmax(s_i)_c,
else the second-order Taylor polynomial 1 + s + s^2/2. Xie et al.: MaNo: Exploiting Matrix Norm for Unsupervised
Accuracy Estimation Under Distribution Shifts. NeurIPS 2024. https://arxiv.org/abs/2405.18979. Scores of shallow
classifiers are log-probabilities or decision values, not logits of a network; compare only models of one kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator

CONFIDENT = 5.0


@register_validator()
def mano(target_scores: Tensor, n_classes: int) -> Tensor | None:
    """Entrywise 4-norm of the normalised target scores; undefined for regression."""
    if n_classes == 0:
        return None
    logp = torch.log_softmax(target_scores, dim=1)
    if bool(-logp.mean() > CONFIDENT):
        q = logp.exp()
    else:
        raw = 1 + target_scores + target_scores.square() / 2
        q = raw / raw.sum(1, keepdim=True)
    return q.abs().pow(4).mean().pow(0.25)
