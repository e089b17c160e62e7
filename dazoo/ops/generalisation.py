"""Losses that compare several labelled sources with each other, for targets that are never seen.

Sources enter as one-hot weights w (n, M), as in ``sources``: one without rows in a batch drops out through its zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.ops.classwise import class_means, normalised


def source_losses(each: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss of every source and which have rows: losses of samples each (n,), w (n, M) -> (M,), (M,) of 0 and 1."""
    means, there = class_means(each[..., None], w)
    return means[..., 0], there


def mean_over(values: Tensor, there: Tensor) -> Tensor:
    """Mean of values (M,) over the sources that are there (M,), a scalar; 0 where none is."""
    return (there * values).sum(-1) / there.sum(-1).clamp_min(1.0)


def variance_over(values: Tensor, there: Tensor) -> Tensor:
    """Population variance of values (M,) over the sources that are there (M,), a scalar."""
    return mean_over((values - mean_over(values, there)) ** 2, there)


def scale_slopes(scores: Tensor, y: Tensor) -> Tensor:
    """Slope of every sample's cross-entropy in a factor of its scores, at factor 1: scores (n, C), y (n,) -> (n,).

    d/ds [-s l_y + log sum_c exp(s l_c)] at s = 1  =  sum_c p_c l_c - l_y,   p = softmax(l)
    """
    own = scores.gather(-1, y[..., None])[..., 0]
    return (scores.softmax(-1) * scores).sum(-1) - own


def irm_penalty(scores: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Invariance penalty of every source: scores (n, C), y (n,), w (n, M) -> (M,).

        g_m' g_m'',   g' and g'' the mean slopes (``scale_slopes``) of the source's rows at even and at odd places

    Two halves make an unbiased estimate of the squared slope, which may be negative. 0 for fewer than two rows.
    Arjovsky et al., 2019, https://arxiv.org/abs/1907.02893, appendix D
    """
    slopes = scale_slopes(scores, y)
    odd = ((w.cumsum(-2) - 1.0) % 2.0) * w
    halves = [source_losses(slopes, part)[0] for part in (w - odd, odd)]
    return halves[0] * halves[1]


def group_weights(q: Tensor, losses: Tensor, there: Tensor, eta: float | Tensor) -> Tensor:
    """Weights of the sources moved towards those of high loss: q (M,), losses (M,) -> (M,) of sum 1, no gradient.

        q_m <- q_m exp(eta e_m) / sum_k q_k exp(eta e_k)

    Sources that a batch lacks count with loss 0. Sagawa et al., ICLR 2020, https://arxiv.org/abs/1911.08731
    """
    return (q.log() + eta * (there * losses).detach()).softmax(-1)


def pairwise_coral(f: Tensor, w: Tensor) -> Tensor:
    """Distance of first and second moments over all pairs of sources: f (n, d), w (n, M) -> scalar.

        2 / (M (M - 1)) sum_{i<j} [ mean (mu_i - mu_j)^2 + mean (Cov_i - Cov_j)^2 ]

    with means over the d features and over the d x d entries, covariances with n_m - 1; pairs of which both have two
    rows. Gulrajani, Lopez-Paz, ICLR 2021, https://arxiv.org/abs/2007.01434
    """
    scaled, _ = normalised(w)
    count = w.sum(-2)
    means = scaled.transpose(-1, -2) @ f
    centred = (f[..., None, :] - means[..., None, :, :]) * w[..., None]
    cov = torch.einsum("...nmd,...nme->...mde", centred, centred) / (count - 1.0).clamp_min(1.0)[..., None, None]
    there = (count > 1).to(f.dtype)
    pairs = torch.triu(there[..., :, None] * there[..., None, :], 1)
    first = (means[..., :, None, :] - means[..., None, :, :]).square().mean(-1)
    second = (cov[..., :, None, :, :] - cov[..., None, :, :, :]).square().mean((-1, -2))
    return (pairs * (first + second)).sum((-1, -2)) / pairs.sum((-1, -2)).clamp_min(1.0)


def head_gradients(f: Tensor, scores: Tensor, y: Tensor) -> Tensor:
    """Every sample's gradient of its cross-entropy in a linear head: f (n, d), scores (n, C), y (n,) -> (n, C (d + 1)).

    In the weights it is ``(p - onehot(y)) f^T``, in the bias ``p - onehot(y)``.
    """
    error = scores.softmax(-1) - functional.one_hot(y, scores.shape[-1]).to(scores.dtype)
    weights = (error[..., :, None] * f[..., None, :]).flatten(-2)
    return torch.cat([weights, error], -1)


def gradient_variances(g: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Population variance of gradients g (n, p) over the rows of every source, w (n, M): (M, p), and who is there."""
    means, there = class_means(g, w)
    squares, _ = class_means((g - w @ means).square(), w)
    return squares, there


def muted(f: Tensor, slopes: Tensor, share: float) -> Tensor:
    """Which features stay when every sample loses those that favour its class most: f, slopes (n, d) -> (n, d) of 0, 1.

    A feature stays where its slope lies below the sample's quantile ``1 - share``.
    Huang et al., ECCV 2020, https://arxiv.org/abs/2007.02454
    """
    limit = torch.quantile(slopes.detach(), 1.0 - share, dim=-1, keepdim=True)
    return (slopes < limit).to(f.dtype)


def restyled(x: Tensor, mean: Tensor, std: Tensor, eps: float = 1e-5, fixed: bool = False) -> Tensor:
    """``x`` with another style: its own mean and deviation taken out, the given ones put in; shapes as of ``style``.

    ``fixed``: no gradient flows through what is taken out.
    """
    own_mean, own_std = style(x.detach() if fixed else x, eps)
    return (x - own_mean) / own_std * std + mean


def style(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a sample: of every channel over its positions, x (b, c, ...) -> (b, c, 1, ...); of
    a vector over its units, x (b, d) -> (b, 1). Deviations with n - 1 and ``eps`` under the root."""
    axes = tuple(range(2, x.ndim)) or (1,)
    return x.mean(axes, keepdim=True), (x.var(axes, keepdim=True) + eps).sqrt()
