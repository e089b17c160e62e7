"""Samples that stay on disk: what is fitted from blocks is what is fitted in memory, and memory stays bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core import blocks as on_disk
from dazoo.core.errors import DazooWarning

N, D = 600, 12


def made(seed: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(N) % 3
    x = rng.standard_normal((N, D)) * np.linspace(0.5, 2, D) + 2.0 * (y[:, None] == np.arange(D) % 4) + shift
    return x.astype(np.float16), y


@pytest.fixture
def small(monkeypatch):
    """Blocks of few rows, so that there are many of them."""
    monkeypatch.setattr(on_disk, "BLOCK_BYTES", 8 * D * 64)


@pytest.fixture
def task(tmp_path):
    (xs, ys), (xt, yt) = made(0, 0.0), made(1, 0.7)
    return dazoo.Task.from_arrays(xs, ys, xt, yt)


def fitted(method, task, stream, **options):
    with pytest.warns(DazooWarning) if stream else __import__("contextlib").nullcontext():
        return dazoo.fit(method, task, classifier="ridge", transform=None, stream=stream, **options)


@pytest.mark.parametrize("method", ["source_only", "sa", "coral", "ot_linear", "pca", "gfk", "tca"])
def test_moments_suffice(method, task, small):
    inside, outside = (fitted(method, task, stream).predict(task.target.x).scores for stream in (False, True))
    assert torch.allclose(outside.double(), inside.double(), atol=1e-6 * float(inside.abs().max()))
