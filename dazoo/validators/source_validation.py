"""Accuracy on held-out source samples; minus the mean squared error for regression.

V = 1/n sum_i [argmax_c s_ic = y_i]          or          V = -1/n sum_i (s_i - y_i)^2
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator()
def source_validation(source_val_scores: Tensor, source_val_labels: Tensor, n_classes: int) -> Tensor:
    """Accuracy on held-out source samples (classes), or minus the mean squared error (regression)."""
    if n_classes == 0:
        return -(source_val_scores.squeeze(1) - source_val_labels).square().mean()
    return (source_val_scores.argmax(1) == source_val_labels).double().mean()
