"""Samples of rows, where there are too many for all."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def drawn_rows(n: int, count: int, gen: torch.Generator) -> Tensor:
    """``count`` of ``n`` rows without replacement, ascending; all where there are no more. Memory of ``count``."""
    if n <= count:
        return torch.arange(n)
    seed = int(torch.randint(1 << 62, (1,), generator=gen))
    return torch.from_numpy(np.sort(np.random.default_rng(seed).choice(n, count, replace=False, shuffle=False)))


def with_every_class(y: Tensor, rows: Tensor) -> Tensor:
    """``rows`` (k,), and of every class of ``y`` (n,) that they lack its first sample; ascending."""
    lacking = set(torch.unique(y).tolist()) - set(torch.unique(y[rows]).tolist())
    more = [int((y == c).to(torch.uint8).argmax()) for c in sorted(lacking)]
    return torch.cat([rows, torch.tensor(more, dtype=torch.int64)]).sort().values if more else rows
