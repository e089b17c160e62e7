"""Disagreement of classifiers: mean absolute, margin, sliced Wasserstein and nuclear-norm discrepancies."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError


def mcd(p1: Tensor, p2: Tensor) -> Tensor:
    """Classifier discrepancy, mean of ``|p1 - p2|`` over rows and classes: p1, p2 (n, C) probabilities.

    Saito et al., CVPR 2018, https://arxiv.org/abs/1712.02560
    """
    return (p1 - p2).abs().mean()


def pick(x: Tensor, index: Tensor) -> Tensor:
    """One entry per row, ``x[i, index[i]]``: x (n, C), index (n,) -> (n,)."""
    return x.gather(-1, index[..., None]).squeeze(-1)


def mdd_source(y: Tensor, a: Tensor) -> Tensor:
    """Per row ``-log softmax(a)[argmax y]``: main logits y (n, C), adversarial logits a (n, C) -> (n,)."""
    return -pick(functional.log_softmax(a, dim=-1), y.detach().argmax(-1))


def mdd_target(y: Tensor, a: Tensor, eps: float = 1e-6) -> Tensor:
    """Per row ``log(min(1 - softmax(a)[argmax y] + eps, 1))``: main y (n, C), adversarial a (n, C) -> (n,).

    ``eps`` bounds the gradient where the heads agree with certainty.
    """
    agree = pick(functional.softmax(a, dim=-1), y.detach().argmax(-1))
    return torch.log((1.0 - agree + eps).clamp_max(1.0))


def mdd(ys: Tensor, as_: Tensor, yt: Tensor, at: Tensor, margin: float | Tensor = 4.0, eps: float = 1e-6) -> Tensor:
    """Margin disparity discrepancy, which the adversarial head maximises.

        -gamma mean_s CE(a_s, argmax y_s) + mean_t log(min(1 - softmax(a_t)[argmax y_t] + eps, 1))

    Zhang et al., ICML 2019, https://arxiv.org/abs/1904.05801

    Args:
        ys: main head's source logits (n, C); only their argmax is used, without gradient.
        as_: adversarial head's source logits (n, C).
        yt: main head's target logits (m, C); only their argmax is used.
        at: adversarial head's target logits (m, C).
        margin: gamma.
    """
    return -margin * mdd_source(ys, as_).mean() + mdd_target(yt, at, eps).mean()


def swd(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Sliced Wasserstein-2 discrepancy of the rows of a (n, C) and b (n, C) along ``directions`` (C, M).

        1/(n M) sum_m sum_i (sort(a theta_m)_i - sort(b theta_m)_i)^2

    The directions are columns of norm 1, drawn by the caller. Lee et al., CVPR 2019, https://arxiv.org/abs/1903.04064
    """
    if a.shape != b.shape:
        raise DazooError(f"swd compares equally many rows, not {tuple(a.shape)} and {tuple(b.shape)}")
    pa = torch.sort(a @ directions, dim=0).values
    pb = torch.sort(b @ directions, dim=0).values
    return (pa - pb).square().mean()


def nwd(ps: Tensor, pt: Tensor) -> Tensor:
    """Nuclear-norm Wasserstein discrepancy, ``|P_s|_* / n - |P_t|_* / m``: ps (n, C), pt (m, C) probabilities.

    The classifier as its own critic. Chen et al., CVPR 2022 (DALN), https://arxiv.org/abs/2204.03838
    """
    return torch.linalg.svdvals(ps).sum() / ps.shape[0] - torch.linalg.svdvals(pt).sum() / pt.shape[0]


def symmetric_kl(logits1: Tensor, logits2: Tensor) -> Tensor:
    """Mean over rows of ``1/2 (KL(p1 | p2) + KL(p2 | p1))`` for p = softmax(logits): logits (n, C)."""
    l1, l2 = functional.log_softmax(logits1, dim=-1), functional.log_softmax(logits2, dim=-1)
    return 0.5 * ((l1.exp() - l2.exp()) * (l1 - l2)).sum(-1).mean()
