"""Gradient reversal."""

from __future__ import annotations

import torch
from torch import Tensor


def reverse_gradient(x: Tensor, s: float | Tensor = 1.0) -> Tensor:
    """The identity forwards, and the gradient times ``-s`` backwards: x of any shape.

        R(x) = -s x + (1 + s) stop(x)

    A plain expression, so it runs under ``vmap`` and takes an ``s`` (0-d tensor) per stacked member.
    Ganin et al., JMLR 2016, https://arxiv.org/abs/1505.07818
    """
    if isinstance(s, Tensor) or not abs(s) < torch.finfo(x.dtype).max:  # as a factor, what overflows becomes infinite
        return -s * x + (1.0 + s) * x.detach()
    return torch.sub((1.0 + s) * x.detach(), x, alpha=s)  # the same with one operation less


def scale_gradient(x: Tensor, s: float | Tensor) -> Tensor:
    """The identity forwards, and the gradient times ``s`` backwards: ``s x + (1 - s) stop(x)``."""
    return s * x + (1.0 - s) * x.detach()
