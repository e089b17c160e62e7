"""Silhouette of the predicted classes among target features.

    V = (1/n) sum_i (b_i - a_i) / max(a_i, b_i)

a_i is the mean distance of sample i to its own predicted class, b_i to the nearest other one. Rousseeuw: Silhouettes: a
graphical aid to the interpretation and validation of cluster analysis. 1987.
https://doi.org/10.1016/0377-0427(87)90125-7. Beyond 4,000 samples the mean is over a fixed random subset.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.setting import ANSWERS
from dazoo.validators.base import register_validator

SAMPLES = 4_000


@register_validator(cost="costly", labels=ANSWERS["labels"])
def silhouette(target_features: Tensor, target_probs: Tensor) -> float | None:
    """Mean silhouette of the predicted target classes, in [-1, 1]; None where a single class is predicted."""
    from sklearn.metrics import silhouette_score

    labels = target_probs.argmax(1)
    rows = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    n_labels = len(torch.unique(labels[rows]))
    if not 1 < n_labels < len(rows):
        return None
    return float(silhouette_score(target_features[rows].numpy(), labels[rows].numpy()))
