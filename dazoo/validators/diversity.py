"""Entropy of the mean target prediction: low when a model collapses onto few classes.

    V = H(mean_i p_i) = -sum_c m_c log m_c,   m = (1/n) sum_i p_i

The second half of InfoMax alone; it says nothing of confidence. Musgrave, Belongie, Lim: Benchmarking Validation
Methods for Unsupervised Domain Adaptation. 2022. https://arxiv.org/abs/2208.07360
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("closed",))
def diversity(target_probs: Tensor) -> Tensor:
    """Entropy of the mean target prediction, in nats; at most log C."""
    mean = target_probs.mean(0)
    return -torch.special.xlogy(mean, mean).sum()
