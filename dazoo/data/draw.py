"""Draws of rows: parts that are held out, and a few samples per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.types import Labeled
from dazoo.data.domain import Domain
from dazoo.data.raw import joined


def rows_of(x: Any, rows: Tensor) -> Any:
    """Some rows of ``x``; ``x`` itself where they are all of it. What is on disk stays there."""
    if isinstance(x, Blocks):
        return x.chosen(rows)
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


def labelled_rows(sources: Sequence[Domain], share: float, rng: np.random.Generator) -> tuple[Labeled, Labeled | None]:
    """Labelled samples of the sources for training and, where there are such, those held out (``stratified``)."""
    x = joined([s.x for s in sources])
    y = torch.cat([s.y for s in sources if s.y is not None])
    which = torch.cat([torch.full((len(s),), i) for i, s in enumerate(sources)])
    train, held = stratified(y, share, rng, sources[0].regression)
    source = Labeled(rows_of(x, train), y[train], which[train])
    return source, Labeled(rows_of(x, held), y[held], which[held]) if len(held) else None


def without_labels(sources: Sequence[Domain]) -> Labeled:
    """All samples of the sources, with -1 in the place of every label."""
    whole = labelled_rows(sources, 0.0, np.random.default_rng(0))[0]
    return replace(whole, y=torch.full_like(whole.y, -1))


def per_class(y: Tensor, k: int, rng: np.random.Generator) -> Tensor:
    """Rows, ascending, of ``k`` samples of every class, or of all where there are fewer."""
    order = rng.permutation(len(y))
    picked = [order[y.numpy()[order] == c][:k] for c in np.unique(y.numpy())]
    return torch.from_numpy(np.sort(np.concatenate(picked)))


def half_of(y: Tensor, known: Tensor, rng: np.random.Generator, regression: bool) -> Tensor:
    """Half of the rows ``known`` that have a label, half of every class: what the oracle learns from.

    It is the first half of every class in an order that ``rng`` decides; ``few_of`` takes the first k in that order, so
    that draws of few labels lie in each other, and in this half as far as it reaches.
    """
    return known[stratified(y[known], 0.5, rng, regression)[1]]


def few_of(y: Tensor, k: int, rng: np.random.Generator, regression: bool) -> Tensor:
    """Rows of ``k`` samples per class, or of ten times as many values, at most half of all."""
    if regression:
        return torch.from_numpy(np.sort(rng.permutation(len(y))[: min(10 * k, len(y) // 2)]))
    return per_class(y, k, rng)
