"""Importance-weighted validation: source errors weighed by how likely the sample is under the target.

    V = -(1/n_v) sum_i w(f_i) [argmax_c s_ic != y_i],    w = p_t(f) / p_s(f)

over held-out source samples; w from logistic regression of the domain on features. Sugiyama, Krauledat, Mueller:
Covariate Shift Adaptation by Importance Weighted Cross Validation. JMLR 2007.
https://www.jmlr.org/papers/v8/sugiyama07a.html
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators._weights import density_ratio
from dazoo.validators.base import register_validator


@register_validator(cost="costly")
def iwcv(
    source_features: Tensor,
    target_features: Tensor,
    source_val_features: Tensor,
    source_val_scores: Tensor,
    source_val_labels: Tensor,
    n_classes: int,
) -> Tensor:
    """Minus the importance-weighted error (squared error for values) on held-out source samples."""
    w = density_ratio(source_features, target_features, source_val_features)
    return -(w * errors(source_val_scores, source_val_labels, n_classes)).mean()


def errors(scores: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """0/1 errors (n,) of class scores, or squared errors of values."""
    if n_classes == 0:
        return (scores.squeeze(1) - labels).square().double()
    return (scores.argmax(1) != labels).double()
