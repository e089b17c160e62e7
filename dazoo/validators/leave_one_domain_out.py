"""Accuracy on sources that were left out of training, each in turn; minus mean squared errors for regression.

V = 1/M sum_m 1/n_m sum_i [argmax_c s^m_ic = y_i]      s^m (n_m, C) by a model of all sources but m

The models have the hyper-parameters, the seed and the checkpoint of the one that is judged. Gulrajani, Lopez-Paz, ICLR
2021, https://arxiv.org/abs/2007.01434, "leave-one-domain-out cross-validation". It costs a further training per source.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator("costly")
def leave_one_domain_out(left_out_scores: list[Tensor], left_out_labels: list[Tensor], n_classes: int) -> Tensor:
    """Accuracy on sources left out of training in turn (classes), or minus the mean squared error (regression)."""
    each = []
    for scores, y in zip(left_out_scores, left_out_labels):
        if n_classes == 0:
            each.append(-(scores.squeeze(1) - y).square().mean())
        else:
            each.append((scores.argmax(1) == y).double().mean())
    return torch.stack(each).mean()
