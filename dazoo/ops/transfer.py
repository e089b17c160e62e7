"""Losses of fine-tuning: distances to the start, spectra, attention on channels, contrast and distillation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import class_means, one_hot


def squared_distance(new: Iterable[Tensor], old: Iterable[Tensor]) -> Tensor:
    """``sum_k |new_k - old_k|^2`` over pairs of tensors of equal shapes: scalar. No gradient into ``old``."""
    return torch.stack([(a - b.detach()).square().sum() for a, b in zip(new, old)]).sum()


def smallest_singular(f: Tensor, k: int = 1) -> Tensor:
    """Sum of the k smallest squared singular values of f (n, d) that are not zero.

    A value counts as zero below ``max(n, d) eps sigma_1``, as in a numerical rank: a sample that occurs twice in a
    batch makes a zero, which has no gradient. Chen et al., NeurIPS 2019 (BSS), https://papers.nips.cc/paper/8466
    """
    s = torch.linalg.svdvals(f)
    above = s > max(f.shape) * torch.finfo(s.dtype).eps * s.detach().amax()
    rank = above.flip(-1).cumsum(-1).flip(-1)
    return torch.where(above & (rank <= k), s.square(), torch.zeros_like(s)).sum()


def channel_attention(f: Tensor, weight: Tensor, bias: Tensor, y: Tensor) -> Tensor:
    """How much each feature matters to a linear classifier, as shares of sum 1: (d,).

        a_j = softmax_j( 1/n sum_i [CE(W f_i^(j) + b, y_i) - CE(W f_i + b, y_i)] ),   f^(j) = f with entry j set to 0

    f (n, d), weight (C, d), bias (C,), y (n,). Li et al., ICLR 2019 (DELTA), https://arxiv.org/abs/1901.09229
    """
    scores = f @ weight.T + bias
    base = functional.cross_entropy(scores, y)
    rise = [functional.cross_entropy(scores - f[:, j, None] * weight[:, j], y) - base for j in range(f.shape[1])]
    return torch.softmax(torch.stack(rise), 0)


def label_relation(p: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Mean source prediction per target class, an estimate of ``p(y_s | y_t)``: p (n, C_s), y (n,) -> (C_t, C_s).

    A row of zeros for a class without samples. You et al., NeurIPS 2020 (Co-Tuning),
    https://proceedings.neurips.cc/paper/2020/hash/c8067ad1937f728f51288b3eb986afaa-Abstract.html
    """
    return class_means(p, one_hot(y, n_classes, p.dtype))[0]


def categorical_contrast(z: Tensor, keys: Tensor, y: Tensor, temperature: float | Tensor = 0.07) -> Tensor:
    """Contrast of queries with keys, where all keys of the query's class are positive.

        1/n sum_i -1/|P_i| sum_{j in P_i} log( exp(z_i.k_j / T) / sum_l exp(z_i.k_l / T) ),   P_i = {j : y_j = y_i}

    z, keys (n, d) of unit length, y (n,); query and key i are two views of one sample. Zhong et al., 2020 (Bi-Tuning),
    https://arxiv.org/abs/2011.06182
    """
    log_p = functional.log_softmax(z @ keys.T / temperature, dim=-1)
    same = (y[:, None] == y[None, :]).to(z.dtype)
    return -((same * log_p).sum(-1) / same.sum(-1)).mean()


def class_contrast(h: Tensor, keys: Tensor, w: Tensor, y: Tensor, temperature: float | Tensor = 0.07) -> Tensor:
    """Contrast of a class's weight with samples, where the query and all keys of the class are positive.

        1/n sum_i -1/|P_i| sum_{a in P_i} log( exp(w_{y_i}.a / T) / sum_{b in A_i} exp(w_{y_i}.b / T) )
        A_i = {h_i} and all keys k_j, j != i;   P_i = those of class y_i

    h, keys (n, d), w (C, d) of unit length, y (n,). Zhong et al., 2020 (Bi-Tuning), https://arxiv.org/abs/2011.06182
    """
    mine = w[y]
    own = torch.eye(len(h), dtype=h.dtype, device=h.device)
    s = (own * (mine * h).sum(-1)[:, None] + (1.0 - own) * (mine @ keys.T)) / temperature
    same = (y[:, None] == y[None, :]).to(h.dtype)
    return -((same * functional.log_softmax(s, -1)).sum(-1) / same.sum(-1)).mean()


def distillation(student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
    """``T^2 / n sum_i KL(softmax(teacher_i / T) | softmax(student_i / T))``: scores (n, C), (n, C).

    No gradient into the teacher. Hinton et al., 2015, https://arxiv.org/abs/1503.02531
    """
    log_p = functional.log_softmax(teacher.detach() / temperature, -1)
    log_q = functional.log_softmax(student / temperature, -1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()
