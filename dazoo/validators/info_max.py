"""Mutual information of inputs and predictions on the target: confident on each sample, diverse over all.

    V = H(mean_i p_i) - mean_i H(p_i),        H(p) = -sum_c p_c log p_c

Known as InfoMax or IM. Musgrave, Belongie, Lim: Benchmarking Validation Methods for Unsupervised Domain Adaptation.
2022. https://arxiv.org/abs/2208.07360
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("closed",))
def info_max(target_probs: Tensor) -> Tensor:
    """Entropy of the mean target prediction minus the mean entropy of the predictions, in nats; at least 0."""
    mean = target_probs.mean(0)
    return torch.special.xlogy(target_probs, target_probs).sum(1).mean() - torch.special.xlogy(mean, mean).sum()
