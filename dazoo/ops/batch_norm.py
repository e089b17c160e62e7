"""Normalisation of channels: by stored moments, by a batch's, by mixtures of both, by each sample's own.

Samples are x (n, C) or (n, C, ...); moments, gamma and beta are (C,), and every further axis counts as more values of
its channel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def channel_moments(x: Tensor, unbiased: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of every channel of x (n, C, ...); the variance of a single value is 0."""
    axes = [0, *range(2, x.ndim)]
    values = x.numel() // x.shape[1]
    return x.mean(axes), x.var(axes, correction=int(unbiased and values > 1))


def mixed_moments(x: Tensor, mean: Tensor, var: Tensor, alpha: float | Tensor, unbiased: bool) -> tuple[Tensor, Tensor]:
    """``alpha`` times the moments of x (n, C, ...) plus ``1 - alpha`` times the stored ones (C,)."""
    own_mean, own_var = channel_moments(x, unbiased)
    return (1 - alpha) * mean + alpha * own_mean, (1 - alpha) * var + alpha * own_var


def normalise(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float = 1e-5
) -> Tensor:
    """``gamma (x - mean) / sqrt(var + eps) + beta`` for x (n, C, ...).

    Args:
        mean, var: (C,), or (n, C) with moments for every sample.
        gamma, beta: (C,); None for 1 and 0.
    """
    scale = torch.rsqrt(var + eps)
    if gamma is not None:
        scale = scale * gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    shape = (-1 if mean.ndim > 1 else 1, x.shape[1], *[1] * (x.ndim - 2))
    return x * scale.reshape(shape) + shift.reshape(shape)


def soft_shrink(z: Tensor, threshold: Tensor) -> Tensor:
    """``z`` moved towards 0 by ``threshold``, and 0 where it is smaller than that."""
    return torch.relu(z - threshold) - torch.relu(-z - threshold)


def instance_aware_moments(
    x: Tensor, mean: Tensor, var: Tensor, k: float | Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Moments (n, C) of every sample of x (n, C, ...), shrunk towards stored ones as far as chance explains them.

        mean_i' = mean + S(mean_i - mean, k sqrt((var + eps) / L))
        var_i' = relu(var + S(var_i - var, k (var + eps) sqrt(2 / (L - 1))))

    S is ``soft_shrink``, L the number of values per sample and channel, var_i unbiased. A channel with fewer than two
    values has no deviation of its own: the stored moments stay.

    Gong et al., NeurIPS 2022, https://arxiv.org/abs/2208.05117, section 3.1
    """
    values = x[0, 0].numel()
    if values < 2:
        return mean.expand(len(x), -1), var.expand(len(x), -1)
    flat = x.flatten(2)
    own_mean, own_var = flat.mean(2), flat.var(2)
    stored = var + eps
    shrunk_mean = mean + soft_shrink(own_mean - mean, k * torch.sqrt(stored / values))
    shrunk_var = var + soft_shrink(own_var - var, k * stored * (2 / (values - 1)) ** 0.5)
    return shrunk_mean, torch.relu(shrunk_var)


def renormalised(
    x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float = 1e-5
) -> Tensor:
    """Batch renormalisation: the value of ``normalise`` by given moments (C,), with the gradient of the batch's own.

        (x - mean_b) / dev_b * r + d,   r = dev_b / dev,   d = (mean_b - mean) / dev,   r and d without gradient

    Ioffe, NIPS 2017, https://arxiv.org/abs/1702.03275
    """
    own_mean, own_var = channel_moments(x)
    own_dev, dev = torch.sqrt(own_var + eps), torch.sqrt(var + eps)
    r, d = (own_dev / dev).detach(), ((own_mean - mean) / dev).detach()
    plain = normalise(x, own_mean, own_var, r, d, eps)
    shape = (1, -1, *[1] * (x.ndim - 2))
    scaled = plain if gamma is None else plain * gamma.reshape(shape)
    return scaled if beta is None else scaled + beta.reshape(shape)
