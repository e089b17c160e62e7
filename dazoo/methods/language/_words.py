"""What methods on features of vision-language models share: samples and class names of unit norm."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import pair, source_of
from dazoo.ops.classwise import one_hot


def unit_pair(seen: Seen) -> tuple[Tensor, Tensor]:
    """Source (n_s, d) and target samples (n_t, d), rows of norm 1."""
    xs, xt = pair(seen)
    return normalize(xs, dim=1), normalize(xt, dim=1)


def words_of(seen: Seen, ctx: Context, name: str) -> Tensor:
    """Features (K, d) of the class names, rows of norm 1.

    A task without them gets the mean of the source's samples of each class in their place, and a warning.
    """
    if seen.words is not None:
        return normalize(seen.words, dim=1)
    ctx.warn(
        f"{name}: the task has no features of its class names, so means of the source's classes stand in for them; use "
        "the encoder 'clip', or give Task.from_arrays(..., words=...)"
    )
    xs, _ = unit_pair(seen)
    return normalize(one_hot(source_of(seen).y, seen.n_classes, torch.float64).T @ xs, dim=1)


def zero_shot_scores(x: Tensor, words: Tensor, scale: float) -> Tensor:
    """scale * cos(x_i, t_c) (n, K) for samples and class names of norm 1."""
    return scale * x @ words.T
