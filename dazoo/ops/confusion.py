"""Class confusion of soft predictions: how often classes are predicted together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.entropy import entropy


def class_confusion(p: Tensor, mask: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Confusion matrix N (C, C) with rows that sum to 1 of probabilities p (n, C), over rows where mask (n,) is 1.

        M = sum_i w_i p_i p_i^T,   w_i = 1 + exp(-H(p_i)) without gradient,   N_ab = M_ab / sum_c M_ac

    A class without mass has a row of zeros. Jin et al., ECCV 2020, https://arxiv.org/abs/1912.03699
    """
    w = 1.0 + torch.exp(-entropy(p.detach(), eps))
    if mask is not None:
        w = w * mask
    m = (w[:, None] * p).T @ p
    mass = m.sum(1, keepdim=True)
    return m / torch.where(mass > 0, mass, torch.ones_like(mass))


def confusion_consistency(
    strong: Tensor, weak: Tensor, temperature: float | Tensor = 2.5, threshold: float | Tensor = 0.95
) -> Tensor:
    """How much the class confusions of two views of the same rows differ: scores (n, C), (n, C).

        value = m/n * 1/C |N(strong) - N(stop(weak))|_F^2

    N of ``class_confusion`` with softmax(scores / T), over the m rows whose weak softened confidence reaches
    ``threshold``. Transfer-Learning-Library, ``cc_loss``, https://github.com/thuml/Transfer-Learning-Library
    """
    p = functional.softmax(weak.detach() / temperature, -1)
    mask = (p.max(-1).values >= threshold).to(p.dtype)
    gap = class_confusion(functional.softmax(strong / temperature, -1), mask) - class_confusion(p, mask)
    return mask.mean() * gap.square().sum() / p.shape[-1]
