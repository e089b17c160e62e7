"""Soft neighbourhood density: target samples should have close neighbours among their like.

    s_ij = f_i'f_j / (|f_i| |f_j| tau),   q_ij = exp(s_ij) / sum_{k != i} exp(s_ik)  (j != i),
    V = -(1/n) sum_i sum_{j != i} q_ij log q_ij

with f_i the class probabilities of target sample i and tau = 0.05. Saito et al.: Tune it the Right Way: Unsupervised
Validation of Domain Adaptation via Soft Neighborhood Density. ICCV 2021. https://arxiv.org/abs/2108.10860

Tiles of the symmetric matrix e_ij = exp((cos_ij - 1) / tau) are made once for both of their sides. With
u_i = f_i / |f_i|, z_i = sum_{j != i} e_ij and g_i = sum_{j != i} e_ij u_j the entropy of row i is
log z_i + (1 - u_i'g_i / z_i) / tau. So memory is linear in n, and time n^2 C / 2 in single precision.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.validators.base import register_validator

TEMPERATURE = 0.05
TILE = 512


@register_validator(cost="costly")
def snd(target_probs: Tensor) -> Tensor:
    """Mean entropy of the similarity distribution over the other target samples, in nats."""
    n = len(target_probs)
    if n < 3:
        return torch.tensor(float("nan"))
    unit = torch.nn.functional.normalize(target_probs.double(), dim=1)
    # sums of differences from the mean keep their digits where all samples are alike
    mean = unit.mean(0)
    wide = torch.cat([unit - mean, torch.ones(n, 1, dtype=torch.float64)], 1).float().numpy()
    f = (unit / TEMPERATURE**0.5).float()
    sums = np.zeros(wide.shape)
    for i in range(0, n, TILE):
        rows = slice(i, i + TILE)
        for j in range(i, n, TILE):
            columns = slice(j, j + TILE)
            e = (f[rows] @ f[columns].T).sub_(1 / TEMPERATURE).exp_()
            if i == j:
                e.fill_diagonal_(0)
            # numpy's products are four times as fast as torch's for so few columns
            tile = e.numpy()
            sums[rows] += tile @ wide[columns]
            if i != j:
                sums[columns] += tile.T @ wide[rows]
    z = torch.from_numpy(sums[:, -1])
    near = unit @ mean + (torch.from_numpy(sums[:, :-1]) * unit).sum(1) / z
    return (z.log() + (1 - near) / TEMPERATURE).mean()
