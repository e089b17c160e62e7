"""Mean margin of the target predictions: how much surer a model is of its first class than of its second.

V = 1/n sum_i (p_i(1) - p_i(2)),      p_i(1) >= p_i(2) >= ... the sorted class probabilities of sample i
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator()
def margin(target_probs: Tensor) -> Tensor:
    """Mean gap of the two largest class probabilities, in [0, 1]."""
    top = target_probs.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1]).mean()
