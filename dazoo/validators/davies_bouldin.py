"""Davies-Bouldin index of the predicted classes among target features, with the sign turned: higher is better.

    V = -(1/k) sum_i max_{j != i} (S_i + S_j) / |m_i - m_j|

m_i is the centre of predicted class i among the k classes predicted, S_i the mean distance to it. Davies, Bouldin: A
Cluster Separation Measure. TPAMI 1979. https://doi.org/10.1109/TPAMI.1979.4766909
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.setting import ANSWERS
from dazoo.validators.base import register_validator


@register_validator(cost="costly", labels=ANSWERS["labels"])
def davies_bouldin(target_features: Tensor, target_probs: Tensor) -> float | None:
    """Minus the Davies-Bouldin index of the predicted target classes; None where a single class is predicted."""
    from sklearn.metrics import davies_bouldin_score

    labels = target_probs.argmax(1)
    if not 1 < len(torch.unique(labels)) < len(labels):
        return None
    return -float(davies_bouldin_score(target_features.numpy(), labels.numpy()))
