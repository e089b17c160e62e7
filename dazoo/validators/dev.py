"""Deep embedded validation: importance-weighted source error with a control variate.

    l_i = w(f_i) [argmax_c s_ic != y_i],   eta = -Cov(l, w) / Var(w),
    V = -(mean(l) + eta mean(w) - eta)

over held-out source samples; since E[w] = 1 the control variate lowers the variance and leaves the mean. You, Wang,
Long, Jordan: Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation. ICML 2019.
https://proceedings.mlr.press/v97/you19a.html. Deviation: w comes from logistic regression instead of a small network.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators._weights import density_ratio
from dazoo.validators.base import register_validator
from dazoo.validators.iwcv import errors


@register_validator(cost="costly")
def dev(
    source_features: Tensor,
    target_features: Tensor,
    source_val_features: Tensor,
    source_val_scores: Tensor,
    source_val_labels: Tensor,
    n_classes: int,
) -> Tensor:
    """Minus the importance-weighted source error with a control variate."""
    w = density_ratio(source_features, target_features, source_val_features)
    return -controlled(w * errors(source_val_scores, source_val_labels, n_classes), w)


EQUAL = 1e-6
"""Standard deviation of the weights, relative to their mean, below which they differ by the solver's error alone."""


def controlled(weighted: Tensor, w: Tensor) -> Tensor:
    """mean(l) + eta mean(w) - eta with the variance-minimising eta; eta is 0 where all weights are equal."""
    variance = w.var(unbiased=False)
    if not bool(variance > (EQUAL * w.mean()) ** 2):
        return weighted.mean()
    eta = -((weighted - weighted.mean()) * (w - w.mean())).mean() / variance
    return weighted.mean() + eta * w.mean() - eta
