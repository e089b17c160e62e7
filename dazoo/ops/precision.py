"""Decompositions in full precision inside a training step that runs in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """A block in which products keep their inputs' precision although the surrounding code casts them down.

    Eigenvalues and inverses are not defined there, and Gram matrices of rounded products lose their small ones.
    """
    return torch.autocast(like.device.type, enabled=False)


def widened(x: Tensor) -> Tensor:
    """``x`` in at least single precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
