"""Class correlation: how close the matrix of class co-predictions is to a multiple of the identity.

    R = P'P / n  (C, C),      V = <R, I> / (||R||_F ||I||_F) = tr R / (||R||_F sqrt(C))

1 for confident predictions spread evenly over the classes, 1/sqrt(C) for a collapsed model. Known as SoftmaxCorr or
Corr-C. Tu, Deng, Gedeon, Zheng: Assessing Model Out-of-distribution Generalization with Softmax Prediction Probability
Baselines and A Correlation Method. 2023. https://openreview.net/forum?id=1maXoEyeqx
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("closed",))
def corr_c(target_probs: Tensor) -> Tensor:
    """Cosine between the class correlation matrix of target predictions and the identity; at most 1."""
    n, c = target_probs.shape
    r = target_probs.T @ target_probs / n
    return r.trace() / (r.norm() * c**0.5)
