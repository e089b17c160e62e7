"""The semi-dual of entropic optimal transport, for potentials that a network computes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def smooth_transform(cost: Tensor, v: Tensor, reg: float | Tensor) -> Tensor:
    """Soft c-transform of a potential, ``-reg log mean_j exp((v_j - c_ij) / reg)``: cost (n, m), v (m,) -> (n,).

    Tends to ``min_j (c_ij - v_j)`` as ``reg`` goes to 0. Genevay et al., NIPS 2016, https://arxiv.org/abs/1605.08527
    """
    return -reg * (torch.logsumexp((v[None, :] - cost) / reg, 1) - math.log(cost.shape[1]))


def semi_dual(cost: Tensor, v: Tensor, reg: float | Tensor) -> Tensor:
    """Value of a potential, ``mean_i v^{c,reg}_i + mean_j v_j``: cost (n, m), v (m,).

    Its maximum over v is ``min_P <P, c> + reg KL(P | a b^T)`` over plans with uniform marginals a, b. Concave in v, and
    unchanged by a constant added to v. Genevay et al., NIPS 2016, https://arxiv.org/abs/1605.08527
    """
    return smooth_transform(cost, v, reg).mean() + v.mean()
