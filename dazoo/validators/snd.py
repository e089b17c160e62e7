"""Soft neighbourhood density: target samples should have close neighbours among their like.

    s_ij = f_i'f_j / (|f_i| |f_j| tau),   q_ij = exp(s_ij) / sum_{k != i} exp(s_ik)  (j != i),
    V = -(1/n) sum_i sum_{j != i} q_ij log q_ij

with f_i the class probabilities of target sample i and tau = 0.05. Saito et al.: Tune it the Right Way: Unsupervised
Validation of Domain Adaptation via Soft Neighborhood Density. ICCV 2021. https://arxiv.org/abs/2108.10860

Rows are handled in blocks, so memory is linear in n; time is n^2 C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator

TEMPERATURE = 0.05
CELLS = 1 << 24


@register_validator(cost="costly")
def snd(target_probs: Tensor) -> Tensor:
    """Mean entropy of the similarity distribution over the other target samples, in nats."""
    f = torch.nn.functional.normalize(target_probs.float(), dim=1)
    n = len(f)
    if n < 3:
        return torch.tensor(float("nan"))
    total = torch.zeros((), dtype=torch.float64)
    size = max(1, CELLS // n)
    for start in range(0, n, size):
        rows = f[start : start + size]
        s = rows @ f.T
        s /= TEMPERATURE
        each = torch.arange(len(rows))
        s[each, start + each] = -torch.inf
        peak = s.max(1, keepdim=True).values
        e = (s - peak).exp_()
        z = e.sum(1)
        # sum_j q_j log q_j = sum_j e_j (s_j - peak) / z - log z; the own cell has weight 0
        s[each, start + each] = 0.0
        inner = ((s - peak) * e).sum(1) / z
        total += (z.log() - inner).double().sum()
    return total / n
