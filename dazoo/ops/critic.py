"""Constraints that keep a critic near the 1-Lipschitz functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.ops.moments import safe_norm


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Mean squared deviation of the critic's gradient norm from 1, ``1/n sum_i (|grad D(h_i)| - 1)^2``: points (n, d).

    Differentiable in the critic's parameters, also under ``vmap``. Gulrajani et al., NIPS 2017,
    https://arxiv.org/abs/1704.00028

    Args:
        critic: maps (n, d) to (n,) or (n, 1), each row by itself.
    """

    def total(h: Tensor) -> Tensor:
        return critic(h).sum()

    slope = torch.func.grad(total)(points.detach())
    return (safe_norm(slope) - 1.0).square().mean()
