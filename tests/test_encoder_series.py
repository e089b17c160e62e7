"""Recordings and series: reading, spectrograms, channels, statistics of windows, their views and datasets."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.audio import read_audio, resampled
from dazoo.data.raw import Ragged
from dazoo.data.registry import load_task
from dazoo.encoders.base import create_encoder, default_for
from dazoo.encoders.log_mel import FLOOR, mel_filters, spectrogram
from dazoo.encoders.statistics import statistics
from dazoo.nets.augment import strong_spectrograms

RNG = np.random.default_rng(0)


def tone(hertz: float, seconds: float, rate: int = 8000) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def save(path: Path, signal: np.ndarray, rate: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(signal, channels) * 32000).astype("<i2").tobytes())


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for domain, rate in (("studio", 8000), ("street", 16000)):
        for kind, hertz in (("low", 300), ("high", 1500)):
            for i in range(6):
                save(tmp_path / domain / kind / f"{i}.wav", tone(hertz + 20 * i, 0.2 + 0.02 * i, rate), rate, 1 + i % 2)
    return tmp_path


def test_recordings_become_one_rate_and_channel(sounds: Path):
    with pytest.warns(DazooWarning, match="between 8000 and 16000"):
        task = load_task("audio_folder/studio->street", path=str(sounds))
    assert task.target.kind == "audio" and task.target.x.rate == 8000 == task.sources[0].x.rate
    assert np.allclose(task.target.x.lengths, task.sources[0].x.lengths, atol=1)
    assert task.target.x.lengths.tolist()[:3] == [1600, 1760, 1920] and task.classes == ("high", "low")
    model = dazoo.fit("coral", task)
    assert model.encoding.options["form"] == "vector" and dazoo.evaluate(model, task)["accuracy"] == 1.0
    with pytest.raises(DazooError, match="16000 steps per second, not 8000"):
        model.predict(Ragged.of([tone(300, 0.2)], "audio", 16000.0))
    assert model.predict([tone(300, 0.2), tone(300, 0.25)]).names.tolist() == ["low", "low"]


def test_resampling_keeps_a_tone():
    low = resampled(tone(500, 1, 16000), 16000, 8000)
    assert len(low) == 8000 and np.abs(low[200:-200] - tone(500, 1)[200:-200]).max() < 0.01


def test_silence_and_damaged_recordings(tmp_path: Path):
    save(tmp_path / "silent.wav", np.zeros(1600, np.float32))
    silent = read_audio(tmp_path / "silent.wav", 8000)
    assert torch.allclose(spectrogram(silent[:, None], 8000, 10), torch.tensor(np.log(FLOOR)).float())
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    save(tmp_path / "short.wav", np.zeros(10, np.float32))
    for name, said in (("broken", r"damaged|soundfile"), ("short", "less than 10 ms")):
        with pytest.raises(DazooError, match=said):
            read_audio(tmp_path / f"{name}.wav", 8000)


def test_a_tone_is_in_its_band():
    bands, found = 20, []
    for hertz in (300.0, 1500.0, 3000.0):
        found.append(int(spectrogram(tone(hertz, 0.5)[:, None], 8000.0, bands).mean(1).argmax()))
    mel = 2595 * np.log10(1 + np.array([300.0, 1500.0, 3000.0]) / 700)
    expected = mel / (2595 * np.log10(1 + 4000 / 700)) * (bands + 1) - 1
    assert np.abs(np.array(found) - expected).max() <= 1
    assert (mel_filters(64, 8000.0, 256).sum(1) > 0).all()


def test_spectrograms_have_the_length_of_the_recordings_and_standard_bands():
    rows = Ragged.of([tone(300, s) for s in (0.3, 0.5, 0.4)], "audio", 8000.0)
    fitted = create_encoder("log_mel", bands=12, seconds=0.4).fit(rows, rows[:0])
    made = fitted(rows)
    assert made.shape == (3, 12, 40) and fitted.makes == "audio"
    assert torch.allclose(torch.cat([made[2]], 1).mean(), torch.tensor(0.0), atol=0.5)
    assert create_encoder("log_mel").for_vectors().fit(rows, rows[:0])(rows).shape == (3, 8 * 40)


def test_strong_views_of_spectrograms_hide_bands_and_frames():
    x = torch.from_numpy(RNG.normal(size=(4, 20, 40))).float()
    view = strong_spectrograms(x, torch.Generator().manual_seed(0))
    same = view == x
    assert same.any() and not same.all()
    assert torch.allclose(view[~same], x.mean(dim=(1, 2), keepdim=True).expand_as(x)[~same])


def test_channels_are_standardised_by_the_source_and_padded_series_say_where_they_were_seen():
    x = torch.from_numpy(RNG.normal(3, 5, size=(30, 2, 16))).float()
    made = create_encoder("channels").fit(x, x[:0])(x)
    assert torch.allclose(made.mean((0, 2)), torch.zeros(2), atol=1e-5) and made.shape == x.shape
    rows = Ragged.of([RNG.normal(size=(2, n)) for n in (5, 9, 20)])
    fitted = create_encoder("channels", steps=10).fit(rows, rows[:0])
    padded = fitted(rows)
    assert padded.shape == (3, 3, 10) and padded[:, 2].sum(1).tolist() == [5.0, 9.0, 10.0]
    assert not padded[0, :, 5:].any()


def test_statistics_by_hand_and_of_series_of_unlike_length():
    x = torch.tensor([[[0.0, 1.0, 0.0, -1.0], [0.0, 2.0, 0.0, -2.0]]])
    made = statistics(x, 2)[0]
    assert made[:2].tolist() == [0.0, 0.0] and torch.allclose(made[2:4], torch.tensor([0.5, 2.0]).sqrt())
    assert made[4:6].tolist() == [-1.0, -2.0] and made[14:16].tolist() == [1.0, 2.0]
    assert torch.isclose(made[-1], torch.tensor(1.0), atol=1e-6) and len(made) == 2 * 8 + 2 * 2 + 1
    rows = Ragged.of([RNG.normal(size=(3, n)) for n in (1, 2, 50)])
    assert torch.isfinite(create_encoder("statistics").fit(rows, rows[:0])(rows)).all()


def test_methods_on_vectors_get_statistics_and_networks_get_channels():
    assert default_for("series") == "channels" and default_for("series", vectors=True) == "statistics"
    x = RNG.normal(size=(20, 1, 32)) * np.repeat([1.0, 5.0], 10)[:, None, None]
    task = dazoo.Task.from_arrays(x, [0] * 10 + [1] * 10, x + 0.1)
    assert dazoo.fit("coral", task).encoding.name == "statistics"
    assert dazoo.fit("coral", task).predict(x).labels.tolist() == [0] * 10 + [1] * 10


def test_series_of_unlike_length_from_lists():
    rows = [RNG.normal(0, 1 + 4 * (i % 2), size=(2, 20 + i)) for i in range(16)]
    task = dazoo.Task.from_arrays(rows, [i % 2 for i in range(16)], rows)
    assert task.target.kind == "series" and task.target.raw
    model = dazoo.fit("sa", task)
    assert model.predict(rows).labels.tolist() == [0, 1] * 8
    assert model.predict(np.stack([r[:, :20] for r in rows])).labels.tolist() == [0, 1] * 8
    same = dazoo.Task.from_arrays(rows, [i % 2 for i in range(16)], np.stack([r[:, :20] for r in rows]))
    assert same.target.x.lengths.tolist() == [20] * 16


def test_datasets_of_series_and_recordings_hold_what_they_say(data_root):
    watch = load_task("watch/s3->s4", data_root)
    assert watch.target.x.shape == (136, 6, 200) and watch.n_classes == 7
    spoken = load_task("audio_folder/george->jackson", data_root, path="fsdd")
    assert len(spoken.target) == 150 and spoken.target.x.rate == 8000 and spoken.n_classes == 10
