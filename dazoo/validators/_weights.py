"""Density ratios of target and source features, for validators that weigh source errors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def density_ratio(source: Tensor, target: Tensor, at: Tensor, limit: int = 20_000) -> Tensor:
    """p_t(f) / p_s(f) at the rows of ``at``, by logistic regression of the domain on standardised features.

    w(f) = (n_s / n_t) P(target | f) / P(source | f). At most ``limit`` rows of each domain are used for the fit.
    """
    from sklearn.linear_model import LogisticRegression

    source, target = source[:: max(1, len(source) // limit)], target[:: max(1, len(target) // limit)]
    both = torch.cat([source, target])
    mean, std = both.mean(0), both.std(0).clamp(min=1e-12)
    labels = np.r_[np.zeros(len(source)), np.ones(len(target))]
    model = LogisticRegression(C=1.0, max_iter=500).fit(((both - mean) / std).numpy(), labels)
    odds = model.decision_function(((at - mean) / std).numpy())
    return torch.from_numpy(np.exp(np.clip(odds, -30, 30))) * len(source) / len(target)
