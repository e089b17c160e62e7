"""Draws of rows: parts that are held out, and a few samples per class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """Some rows of ``x``; ``x`` itself where they are all of it."""
    return x if len(rows) == len(x) else x[rows]


def stratified(y: Tensor, share: float, rng: np.random.Generator, regression: bool) -> tuple[Tensor, Tensor]:
    """Rows (kept, held out), both ascending, with ``share`` of every class held out but at least one kept."""
    n = len(y)
    if share <= 0:
        return torch.arange(n), torch.empty(0, dtype=torch.int64)
    order = rng.permutation(n)
    held = np.zeros(n, dtype=bool)
    groups = [order] if regression else [order[y.numpy()[order] == c] for c in np.unique(y.numpy())]
    for group in groups:
        held[group[: min(round(share * len(group)), len(group) - 1)]] = True
    return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


def per_class(y: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Rows, ascending, of ``k`` samples of every class, or of all where there are fewer."""
    order = rng.permutation(len(y))
    picked = [order[y.numpy()[order] == c][:k] for c in np.unique(y.numpy())]
    return torch.from_numpy(np.sort(np.concatenate(picked)))
