"""Fitted models of open-set and universal methods: what they call unknown survives saving and holds for new samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dazoo
from dazoo.methods.base import METHODS
from tests.toys import TINY

NAMES = [n for n in METHODS.names() if METHODS.get(n).family in ("open_set", "universal")]
CENTRES = 4 * np.eye(8)


def blobs(classes: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n samples of the classes ``classes`` of "abcdefgh", each at its own corner."""
    y = np.array([classes[i % len(classes)] for i in range(n)])
    x = CENTRES[["abcdefgh".index(c) for c in y]] + np.random.default_rng(seed).normal(size=(n, 8))
    return x.astype(np.float32), y


@pytest.mark.parametrize("name", NAMES)
def test_unknown_samples_of_a_loaded_model(name, tmp_path):
    (xs, ys), (xt, yt), (new, _) = blobs("abc", 90), blobs("abcgh", 100, 1), blobs("abcgh", 40, 2)
    task = dazoo.Task.from_arrays(xs, ys, xt, yt, setting="open_set")
    model = dazoo.fit(name, task, recipe=TINY)
    out = model.predict(new)
    assert out.unknown is not None and out.unknown.shape == (40,) and bool(torch.isfinite(out.unknown).all())
    assert torch.equal(out.labels == 3, out.unknown > out.threshold)
    assert ((out.names == "unknown") == (out.labels == 3).numpy()).all()
    assert 0.0 <= dazoo.evaluate(model, task)["hos"] <= 1.0
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors").predict(new)
    torch.testing.assert_close(again.unknown, out.unknown)
    assert again.threshold == out.threshold and torch.equal(again.labels, out.labels)
    part = model.predict(new[:5])
    torch.testing.assert_close(part.unknown, out.unknown[:5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["knn_distance", "energy", "normality_split", "glc", "lead"])
def test_far_classes_are_unknown(name):
    """Unknown classes as far from the known ones as these from each other are ranked behind them."""
    (xs, ys), (xt, yt) = blobs("abcd", 120), blobs("abcdfgh", 210, 1)
    task = dazoo.Task.from_arrays(xs, ys, xt, yt, setting="open_set")
    found = dazoo.evaluate(dazoo.fit(name, task), task)
    assert found["auroc_unknown"] > 0.9 and found["hos"] > 0.5
