"""Minus the mean entropy of the target predictions: confident models score high.

    V = 1/n sum_i sum_c p_ic log p_ic

Morerio, Cavazza, Murino: Minimal-Entropy Correlation Alignment for Unsupervised Deep Domain Adaptation. ICLR 2018.
https://arxiv.org/abs/1711.10288
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator()
def entropy(target_probs: Tensor) -> Tensor:
    """Minus the mean entropy of the target predictions, in nats; at most 0."""
    return torch.special.xlogy(target_probs, target_probs).sum(1).mean()
