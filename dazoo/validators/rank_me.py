"""RankMe: the effective rank of target features.

    p_k = sigma_k / sum_j sigma_j + eps,     V = exp(-sum_k p_k log p_k)

sigma are the singular values of F (n, d). Garrido et al.: RankMe: Assessing the Downstream Performance of Pretrained
Self-Supervised Representations by Their Rank. ICML 2023. https://arxiv.org/abs/2210.02885
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator

EPS = 1e-7


@register_validator()
def rank_me(target_features: Tensor) -> Tensor:
    """Effective rank of the target features, between 1 and min(n, d)."""
    n, d = target_features.shape
    gram = target_features.T @ target_features if d <= n else target_features @ target_features.T
    sigma = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    p = sigma / sigma.sum() + EPS
    return (-(p * p.log()).sum()).exp()
