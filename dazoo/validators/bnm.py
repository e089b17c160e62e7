"""Nuclear norm of the matrix of target predictions: high for confident and diverse predictions.

    V = ||P||_* / sqrt(n min(n, C)),   P (n, C) the class probabilities

||P||_* is the sum of singular values, computed from the eigenvalues of P'P (C, C). Cui et al.: Towards Discriminability
and Diversity: Batch Nuclear-norm Maximization. CVPR 2020. https://arxiv.org/abs/2003.12237
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("closed",))
def bnm(target_probs: Tensor) -> Tensor:
    """Nuclear norm of the target predictions, scaled to at most 1."""
    n, c = target_probs.shape
    gram = target_probs.T @ target_probs if c <= n else target_probs @ target_probs.T
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum() / (n * min(n, c)) ** 0.5
