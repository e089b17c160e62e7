"""Reverse validation: a classifier learned from the target's pseudo-labels should be right on the source.

    g = argmin_g (1/n_t) sum_j CE(g(f_j), argmax_c s_jc),    V = (1/n_s) sum_i [argmax g(f_i) = y_i]

with f the model's features, over target samples j and labelled source samples i: the held-out rows where the task holds
some out, since the model has separated the rows it was trained on whatever it does to the target. At most 20,000 target
samples (every k-th) train g. Zhong et al.: Cross Validation
Framework to Choose amongst Models and Datasets for Transfer Learning. ECML 2010.
https://doi.org/10.1007/978-3-642-15939-8_35; used by Ganin et al., JMLR 2016. Deviation: g is a logistic regression
on the model's features, not a second adapted network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(cost="costly")
def reverse_validation(
    target_features: Tensor, target_probs: Tensor, held_out_features: Tensor, held_out_labels: Tensor
) -> Tensor | None:
    """Source accuracy of a classifier trained on target pseudo-labels; None where all pseudo-labels agree."""
    from sklearn.linear_model import LogisticRegression

    pseudo = target_probs.argmax(1)
    if len(torch.unique(pseudo)) < 2:
        return None
    step = max(1, len(pseudo) // 20_000)
    mean, std = target_features.mean(0), target_features.std(0).clamp(min=1e-12)
    model = LogisticRegression(C=1.0, max_iter=300)
    model.fit(((target_features - mean) / std)[::step].numpy(), pseudo[::step].numpy())
    guessed = torch.from_numpy(model.predict(((held_out_features - mean) / std).numpy()))
    return (guessed == held_out_labels).double().mean()
