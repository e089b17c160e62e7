"""Every stream method on pictures, series and vectors, one sample at a time, and by every kind of normalisation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.memo import Memo
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, StreamMethod, create_method

STREAMS = [n for n, cls in METHODS.items() if issubclass(cls, StreamMethod)]
SHAPES = {"vector": ("mlp", (6,)), "image": ("cnn", (8, 8, 1)), "series": ("cnn1d", (2, 24))}


@cache
def task_of(kind: str, batch: int, n: int = 12) -> dazoo.Task:
    rng = np.random.default_rng(0)
    shape, y = SHAPES[kind][1], np.arange(36) % 3
    centres = rng.normal(size=(3, *shape))
    xs, xt = (
        centres[part] + 0.3 * rng.normal(size=(len(part), *shape)) + move for part, move in ((y, 0), (y[:n], 0.5))
    )
    if kind == "image":
        xs, xt = (np.clip(60 * x + 100, 0, 255).astype(np.uint8) for x in (xs, xt))
    else:
        xs, xt = xs.astype(np.float32), xt.astype(np.float32)
    return dazoo.Task.from_arrays(xs, y, xt, y[:n], setting="test_time", batch=batch)


@cache
def memo_of(kind: str, batch: int, norm: str) -> Memo:
    return Memo()


def answers(name: str, kind: str, batch: int, norm: str = "batch") -> torch.Tensor:
    recipe = Recipe.named("digits", steps=12, batch=12, bottleneck=8, norm=norm)
    options = Options(recipe=recipe, backbone=SHAPES[kind][0])
    made = fit(create_method(name), task_of(kind, batch).seen(), options=options, memo=memo_of(kind, batch, norm))
    return made.predictor.recorded.scores


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_every_kind_of_sample_is_answered(name: str, kind: str) -> None:
    found = answers(name, kind, 5)
    assert found.shape == (12, 3) and torch.isfinite(found).all()


@pytest.mark.parametrize("name", STREAMS)
def test_one_sample_at_a_time_is_answered(name: str) -> None:
    found = answers(name, "vector", 1)
    assert found.shape == (12, 3) and torch.isfinite(found).all()


@pytest.mark.parametrize("name", [n for n in STREAMS if not METHODS.get(n).needs_batch_norm])
def test_layer_normalisation_is_as_good(name: str) -> None:
    found = answers(name, "vector", 5, "layer")
    assert found.shape == (12, 3) and torch.isfinite(found).all()
