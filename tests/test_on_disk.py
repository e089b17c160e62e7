"""Samples that stay on disk: what is fitted from blocks is what is fitted in memory, and memory stays bounded."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core import blocks as on_disk
from dazoo.core.blocks import InMemory
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data import blocks as files
from dazoo.data.blocks import ArrayFile
from dazoo.data.streamed import streamed
from dazoo.shallow import heads_on_disk

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
    options = {"classifier": "ridge", "transform": None, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DazooWarning)
        model = dazoo.fit(method, task, stream=stream, **options)
    assert bool(stream) <= any("on disk" in said for said in model.report.warnings)
    return model


@pytest.mark.parametrize("method", ["source_only", "sa", "coral", "ot_linear", "pca", "gfk", "tca"])
def test_moments_suffice(method, task, small):
    inside, outside = (fitted(method, task, stream).predict(task.target.x).scores for stream in (False, True))
    assert torch.allclose(outside.double(), inside.double(), atol=1e-6 * float(inside.abs().max()))


@pytest.mark.parametrize("method", ["ulsif", "kmm", "jda"])
def test_sums_over_blocks_are_those_of_all_samples(method, task, small):
    """The same centres, widths and leave-one-out scores; the same mean of the target in the space of a kernel; the same
    class means."""
    inside, outside = (fitted(method, task, stream, sample=N).predict(task.target.x).scores for stream in (False, True))
    assert torch.allclose(outside.double(), inside.double(), atol=1e-6 * float(inside.abs().max()))


@pytest.mark.parametrize("method", ["jda", "ot_sinkhorn", "kliep"])
def test_landmarks_stand_for_all(method, task, small):
    """A third of the samples does about what all do, and a sentence says so."""
    model, inside = fitted(method, task, True, sample=200), fitted(method, task, False)
    agree = (model.predict(task.target.x).labels == inside.predict(task.target.x).labels).double().mean()
    assert agree > 0.9


@pytest.mark.parametrize("setting", ["unsupervised", "few_labels"])
def test_the_last_round_has_the_class_means_of_all_samples(setting, task, small):
    """With a third of the samples in the rounds, jda comes ten times nearer to the answer of all than these alone."""
    if setting == "few_labels":
        task = task.change(setting=setting, few_per_class=2)
    inside = fitted("jda", task, False).predict(task.target.x).scores.double()
    outside = fitted("jda", task, True, sample=200).predict(task.target.x).scores
    sources, target = ((x[:200], y[:200]) for x, y in (made(0, 0.0), made(1, 0.7)))
    alone = fitted("jda", dazoo.Task.from_arrays(*sources, target[0]), False).predict(task.target.x).scores
    gaps = [float((s.double() - inside).abs().max() / inside.abs().max()) for s in (outside, alone)]
    assert 10 * gaps[0] < gaps[1]


@pytest.mark.parametrize("classifier", ["logistic", "linear_svc", "1nn"])
def test_other_heads_come_near(classifier, task, small, monkeypatch):
    monkeypatch.setattr(heads_on_disk, "WINDOW", 1)  # windows of a batch
    model = fitted("sa", task, True, classifier=classifier, sample=200)
    inside = fitted("sa", task, False, classifier=classifier)
    accuracies = [
        float((m.predict(task.target.x).labels == torch.arange(N) % 3).double().mean()) for m in (model, inside)
    ]
    assert abs(accuracies[0] - accuracies[1]) < 0.03


def test_a_large_memory_map_stays_on_disk_by_itself(tmp_path, small, monkeypatch):
    """Given as it is; predictions go to a file, and say what those in memory say."""
    (xs, ys), (xt, yt) = made(0, 0.0), made(1, 0.7)
    for name, x in (("s", xs), ("t", xt)):
        np.save(tmp_path / f"{name}.npy", x)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "st"]
    monkeypatch.setattr(files, "STREAM_BYTES", 8 * N * D - 1)
    task = dazoo.Task.from_arrays(mapped[0], ys, mapped[1][:], yt, source_holdout=0.1)
    assert isinstance(task.target.x, ArrayFile) and "on disk" in repr(task.target.x)
    model = fitted("coral", task, None, select_by="source_validation")
    out = model.predict(mapped[1], out=tmp_path / "scores.npy")
    inside = model.predict(xt[:100])
    assert torch.allclose(out.scores[:100], inside.scores.float(), atol=1e-5) and out.features is None
    assert np.array_equal(np.load(tmp_path / "scores.npy"), out.scores.numpy())
    assert dazoo.evaluate(model, task)["accuracy"] == pytest.approx(float((out.labels.numpy() == yt).mean()))
    monkeypatch.setattr(files, "STREAM_BYTES", 8 * N * D)
    assert isinstance(dazoo.Task.from_arrays(mapped[0], ys, mapped[1], yt).target.x, torch.Tensor)


def test_values_are_learned_from_blocks(task, small):
    y = torch.sin(task.sources[0].x[:, 0].double()) + 5
    values = dazoo.Task.from_arrays(task.sources[0].x, y, task.target.x)
    inside, outside = (fitted("sa", values, stream).predict(task.target.x).values for stream in (False, True))
    assert torch.allclose(outside.double(), inside.double(), atol=1e-6)


def test_changes_of_units_are_fitted_and_made_block_by_block(task, small):
    inside, outside = (
        fitted("sa", task, stream, transform=["unit_norm", "zscore"]).predict(task.target.x).scores
        for stream in (False, True)
    )
    assert torch.allclose(outside.double(), inside.double(), atol=2e-5 * float(inside.abs().max()))


def test_values_that_are_no_numbers_are_found_when_they_are_read(tmp_path):
    x, y = made(0, 0.0)
    x[400, 3] = np.nan
    task = dazoo.Task.from_arrays(InMemory(torch.from_numpy(x)), y, made(1, 0.0)[0])
    with pytest.raises(DazooError, match="NaN"):
        dazoo.fit("sa", task, transform=None)


def test_streams_of_samples_need_memory(task):
    with pytest.raises(DazooError, match="samples in memory"):
        dazoo.adapt(task=streamed(task, True), say=None)
    with pytest.raises(DazooError, match="stay on disk"):
        dazoo.fit("source_only", task.change(setting="test_time"), stream=True)
