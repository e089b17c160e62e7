"""Losses of predicted probabilities: entropies, information maximisation, class confusion, nuclear norms."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError


def entropy(p: Tensor, eps: float = 1e-5) -> Tensor:
    """Shannon entropy per row in nats, ``-sum_c p_c log(p_c + eps)``: p (n, C) -> (n,).

    ``eps`` inside the logarithm bounds the gradient; with ``eps = 0`` the exact entropy, where 0 log 0 = 0.
    """
    if eps == 0:
        # the cut leaves values as they are and keeps the gradient at p = 0 finite
        return -(p * torch.log(p.clamp_min(torch.finfo(p.dtype).tiny))).sum(-1)
    return -(p * torch.log(p + eps)).sum(-1)


def entropy_of_logits(logits: Tensor) -> Tensor:
    """Exact Shannon entropy per row of ``softmax(logits)`` in nats: (n, C) -> (n,). Finite for saturated logits."""
    log_p = functional.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


def entropy_mean(p: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean Shannon entropy of rows, ``-1/n sum_i sum_c p_ic log(p_ic + eps)``: p (n, C).

    Grandvalet and Bengio, NIPS 2004, https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization
    """
    return entropy(p, eps).mean()


def diversity(p: Tensor, eps: float = 1e-5) -> Tensor:
    """Entropy of the mean prediction, ``H(1/n sum_i p_i)``: p (n, C). Large where all classes are predicted."""
    return entropy(p.mean(0), eps)


def info_max(logits: Tensor, eps: float = 1e-5) -> Tensor:
    """Information maximisation, to be minimised: ``1/n sum_i H(p_i) - H(1/n sum_i p_i)``, p = softmax(logits), (n, C).

    The negative mutual information of sample and prediction. Krause et al., NIPS 2010; Liang et al., ICML 2020 (SHOT),
    https://arxiv.org/abs/2002.08546
    """
    p = functional.softmax(logits, dim=-1)
    return entropy(p, eps).mean() - diversity(p, eps)


def entropy_weights(p: Tensor, eps: float = 1e-5) -> Tensor:
    """Weights of confident rows, ``w_i = n (1 + exp(-H(p_i))) / sum_j (1 + exp(-H(p_j)))``: p (n, C) -> (n,).

    They sum to n and carry no gradient. Long et al., NeurIPS 2018 (CDAN+E), https://arxiv.org/abs/1705.10667
    """
    w = 1.0 + torch.exp(-entropy(p.detach(), eps))
    return w / w.mean()


def mcc(logits: Tensor, temperature: float | Tensor = 2.5, eps: float = 1e-5) -> Tensor:
    """Minimum class confusion: logits (n, C).

        p = softmax(logits / T),  Q = sum_i w_i p_i p_i^T,  value = 1/C sum_{a != b} Q_ab / sum_c Q_ac

    with the weights w of ``entropy_weights`` (no gradient). 0 for a single class.
    Jin et al., ECCV 2020, https://arxiv.org/abs/1912.03699
    """
    p = functional.softmax(logits / temperature, dim=-1)
    c = p.shape[-1]
    q = (entropy_weights(p, eps)[:, None] * p).T @ p
    mass = q.sum(1, keepdim=True)
    # a class that no row predicts has a row of zeros, which confuses nothing
    rows = q / torch.where(mass > 0, mass, torch.ones_like(mass))
    return (rows * (1.0 - torch.eye(c, dtype=p.dtype, device=p.device))).sum() / c


def nuclear_norm(p: Tensor) -> Tensor:
    """Sum of the singular values of p (n, C)."""
    return torch.linalg.svdvals(p).sum()


def bnm(p: Tensor) -> Tensor:
    """Batch nuclear-norm maximisation, to be minimised: ``-|P|_* / n`` for probabilities P (n, C).

    Cui et al., CVPR 2020, https://arxiv.org/abs/2003.12237
    """
    return -nuclear_norm(p) / p.shape[0]


def fbnm(p: Tensor) -> Tensor:
    """Fast BNM, to be minimised: minus the sum of the min(n, C) largest column norms of P (n, C), over n.

    Cui et al., 2021, https://arxiv.org/abs/2107.06154
    """
    sq = p.square().sum(0)
    zero = sq == 0
    norms = torch.where(zero, torch.zeros_like(sq), torch.where(zero, torch.ones_like(sq), sq).sqrt())
    k = min(p.shape)
    return -torch.sort(norms, descending=True).values[:k].sum() / p.shape[0]


def tsallis(p: Tensor, alpha: float = 2.0) -> Tensor:
    """Mean Tsallis entropy, ``1/n sum_i (1 - sum_c p_ic^alpha) / (alpha - 1)``: p (n, C), alpha != 1.

    Liu et al., NeurIPS 2021 (Cycle self-training), https://arxiv.org/abs/2103.03571
    """
    if alpha == 1.0:
        raise DazooError("Tsallis entropy with alpha = 1 is Shannon entropy; use entropy_mean")
    return ((1.0 - p.pow(alpha).sum(-1)) / (alpha - 1.0)).mean()


def max_square(p: Tensor) -> Tensor:
    """Maximum squares loss, to be minimised: ``-1/(2n) sum_i sum_c p_ic^2``: p (n, C).

    Chen et al., ICCV 2019, https://arxiv.org/abs/1909.13589
    """
    return -p.square().sum(-1).mean() / 2.0
