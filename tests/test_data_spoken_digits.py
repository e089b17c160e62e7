"""Spoken digits: the spectrogram on tones of known pitch, the layout of the files, and the real recordings."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from dazoo.core.errors import DazooError, UnknownName
from dazoo.data.registry import expand_tasks, load_domain, load_task
from dazoo.data.sets import spoken_digits


def record(path: Path, signal: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((20000 * signal).astype("<i2").tobytes())


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(8000 * seconds)) / 8000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for speaker, pitch in (("ann", 1.0), ("bob", 1.3)):
        for digit in range(10):
            for take in (0, 1, 10):
                record(tmp_path / "fsdd" / speaker / str(digit) / f"{take}.wav", tone(pitch * 250 * (1 + digit)))
    return tmp_path


def test_a_tone_peaks_in_its_band(root: Path):
    filters = spoken_digits.mel_filters(40)
    ann = load_domain("spoken_digits", "ann", root)
    assert ann.kind == "series" and ann.x.shape == (30, 40, 80)
    assert ann.y.tolist() == [d for d in range(10) for _ in range(3)]
    for row, digit in zip(ann.x, ann.y):
        bin_of_tone = round(250 * (1 + int(digit)) / 4000 * 128)
        peak = row[:, 5:45].mean(1).argmax()
        assert filters[peak, bin_of_tone] > 0.3
    silence = ann.x[:, :, 60:]
    assert torch.allclose(silence, torch.full_like(silence, np.log(1e-3)))


def test_filters_cover_all_frequencies():
    for bands in (4, 40, 64):
        filters = spoken_digits.mel_filters(bands)
        assert filters.shape == (bands, 129) and bool((filters >= 0).all()) and bool((filters.sum(1) > 0).all())
        assert filters.max() <= 1.0


def test_vectors_ignore_the_speed(root: Path):
    slow, fast = root / "fsdd/cleo/0/0.wav", root / "fsdd/cleo/0/1.wav"
    record(slow, tone(600, 1.2))
    record(fast, tone(600, 0.4))
    x = load_domain("spoken_digits", "cleo", root, kind="vector").x
    assert x.shape == (2, 320) and (x[0] - x[1]).abs().mean() < 0.5


def test_loudness_does_not_matter(root: Path):
    record(root / "fsdd/dan/0/0.wav", tone(600))
    record(root / "fsdd/dan/0/1.wav", 0.1 * tone(600))
    x = load_domain("spoken_digits", "dan", root).x
    assert (x[0] - x[1]).abs().max() < 0.2


def test_tasks_and_errors(root: Path):
    assert expand_tasks(["spoken_digits/*->*"], root) == ["spoken_digits/ann->bob", "spoken_digits/bob->ann"]
    assert load_task("spoken_digits/ann->bob", root).n_classes == 10
    with pytest.raises(UnknownName, match="ann"):
        load_domain("spoken_digits", "an", root)
    with pytest.raises(DazooError, match="DAZOO_DATA"):
        load_domain("spoken_digits", "ann", root / "nowhere")
    for options in ({"kind": "image"}, {"bands": 2}, {"seconds": 0.0}):
        with pytest.raises(DazooError, match="must"):
            load_domain("spoken_digits", "ann", root, **options)
    (root / "fsdd/eve").mkdir()
    with pytest.raises(DazooError, match="copy the data set again"):
        load_domain("spoken_digits", "eve", root)


@pytest.mark.parametrize("damage", ["text", "rate", "short"])
def test_damaged_recordings_are_named(damage: str, root: Path):
    path = root / "fsdd/ann/3/0.wav"
    if damage == "text":
        path.write_bytes(b"hello")
    else:
        record(path, tone(600, 0.5 if damage == "rate" else 0.01), 16000 if damage == "rate" else 8000)
    with pytest.raises(DazooError, match=r"ann/3/0\.wav"):
        load_domain("spoken_digits", "ann", root)


def test_real_recordings_can_be_told_apart():
    from sklearn.linear_model import LogisticRegression

    where = os.environ.get("DAZOO_DATA")
    if not where or not (Path(where) / "fsdd").is_dir():
        pytest.skip("needs real data: set DAZOO_DATA to a folder that holds fsdd/")
    s, t = (load_domain("spoken_digits", d, where, kind="vector") for d in ("george", "jackson"))
    assert len(s) == len(t) == 150 and torch.bincount(s.y).tolist() == [15] * 10
    fit = LogisticRegression(max_iter=300).fit(s.x[::2].numpy(), s.y[::2].numpy())
    within, across = fit.score(s.x[1::2].numpy(), s.y[1::2].numpy()), fit.score(t.x.numpy(), t.y.numpy())
    assert within > 0.9 and 0.2 < across < within - 0.2
