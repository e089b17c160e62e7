"""Implicit augmentation: the expected loss over Gaussian moves of the features, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-30


def class_covariances(f: Tensor, w: Tensor) -> Tensor:
    """Class covariances, ``sum_i w_ic (f_i - mu_c)(f_i - mu_c)^T / sum_i w_ic``: f (n, d), w (n, C) -> (C, d, d).

    Zero for a class without weight.
    """
    share = w / w.sum(0).clamp_min(_TINY)
    mu = share.T @ f
    rows = []
    for c in range(w.shape[1]):
        centred = f - mu[c]
        rows.append((centred * share[:, c : c + 1]).T @ centred)
    return torch.stack(rows)


def semantic_shift(weight: Tensor, shift: Tensor, spread: Tensor) -> Tensor:
    """What moving the features of class y adds to the score of class c, beyond that of y: (C, C), rows y, columns c.

        a_yc = (w_c - w_y) . m_y + 1/2 (w_c - w_y)^T S_y (w_c - w_y)

    For features moved by N(s m_y, s S_y), ``log sum_c exp(l_c + s a_yc) - l_y`` bounds the expected cross-entropy of
    class y from above (Jensen's inequality). Wang et al., NeurIPS 2019 (ISDA), https://arxiv.org/abs/1909.12220; Li et
    al., CVPR 2021 (TSA), https://arxiv.org/abs/2103.12562

    Args:
        weight: class weights w (C, d) of a linear classifier.
        shift: moves m (C, d).
        spread: covariances S (C, d, d).
    """
    gap = weight[None, :, :] - weight[:, None, :]
    linear = (gap * shift[:, None, :]).sum(2)
    return linear + 0.5 * ((gap @ spread) * gap).sum(2)
