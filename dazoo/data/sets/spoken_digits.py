"""Spoken digits (Free Spoken Digit Dataset): ten words, one domain per speaker, as log-mel spectrograms.

Files below the data root: ``fsdd/<speaker>/<digit>/<take>.wav``, 8 kHz mono 16 bit. A spectrogram has one column per
10 ms: S = log(1e-3 + M |STFT|^2), with a Hann window of 25 ms, the peak of the recording scaled to 1, and M (bands,
129) triangular filters whose centres are equally spaced on the mel scale m(f) = 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import wave
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import check_choice, check_whole, domain_names
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

CLASSES = tuple(str(d) for d in range(10))
RATE, WINDOW, HOP, BINS = 8000, 200, 80, 256
FLOOR = 1e-3
SEGMENTS = 8


def names(root: Path | None, **options: object) -> tuple[str, ...]:
    """The speakers below ``fsdd``."""
    place = _place(root)
    return domain_names(sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith(".")), place)


def check(kind: str, bands: int, seconds: float) -> None:
    """Refuse kinds and sizes that make no sense."""
    check_choice("kind", kind, ("series", "vector"))
    check_whole("bands", bands, 4, 64)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0.1 <= seconds <= 10:
        raise DazooError(f"the option seconds must be a number between 0.1 and 10, not {seconds!r}")


def load(domain: str, root: Path | None, kind: str = "series", bands: int = 40, seconds: float = 0.8) -> Domain:
    """One speaker.

    Args:
        domain: the speaker.
        root: the data root.
        kind: ``series`` (n, bands, frames) float32, or ``vector`` (n, 8 bands) float32: the spectrogram of the word
            averaged within eight equal parts of its duration.
        bands: number of mel bands.
        seconds: length of a series; longer recordings lose their end, shorter ones end in silence.

    Raises:
        DazooError: a file is missing or no recording of the expected form, or an option has no such value.
    """
    check(kind, bands, seconds)
    files = [
        file
        for digit in CLASSES
        for file in sorted((_place(root) / domain / digit).glob("*.wav"), key=lambda f: (len(f.name), f.name))
    ]
    if not files:
        raise DazooError(f"{_place(root) / domain} holds no <digit>/<take>.wav; copy the data set again")
    made = [_spectrogram(read_wave(file), bands) for file in files]
    y = torch.tensor([int(file.parent.name) for file in files])
    if kind == "vector":
        pooled = [torch.nn.functional.adaptive_avg_pool1d(s, SEGMENTS).flatten() for s in made]
        return Domain(domain, torch.stack(pooled), y, CLASSES)
    frames = round(seconds * RATE / HOP)
    x = torch.full((len(made), bands, frames), float(np.log(FLOOR)))
    for row, spectrogram in zip(x, made):
        kept = min(frames, spectrogram.shape[1])
        row[:, :kept] = spectrogram[:, :kept]
    return Domain(domain, x, y, CLASSES, "series")


def read_wave(path: Path) -> Tensor:
    """The samples (length,) of an 8 kHz mono 16-bit recording, peak scaled to 1; silence stays 0.

    Raises:
        DazooError: the file is damaged or has another form.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise DazooError(f"cannot read the recording {path} ({error}); copy it again or remove it") from error
    if form != (RATE, 1, 2) or len(raw) < 2 * WINDOW:
        raise DazooError(f"{path} must be a recording of at least 25 ms at 8 kHz, mono, 16 bit; convert or remove it")
    signal = torch.from_numpy(np.frombuffer(raw, dtype="<i2").astype(np.float32))
    return signal / signal.abs().max().clamp_min(1.0)


def mel_filters(bands: int) -> Tensor:
    """Triangular filters (bands, BINS / 2 + 1) between 0 Hz and half the sampling rate."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    f = np.linspace(0, RATE / 2, BINS // 2 + 1)[None]
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return torch.from_numpy(np.maximum(0, np.minimum((f - low) / (mid - low), (high - f) / (high - mid)))).float()


def _spectrogram(signal: Tensor, bands: int) -> Tensor:
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(signal, BINS, HOP, WINDOW, window, center=True, pad_mode="constant", return_complex=True)
    return torch.log(FLOOR + _filters(bands) @ spectrum.abs().square())


@lru_cache(maxsize=4)
def _filters(bands: int) -> Tensor:
    return mel_filters(bands)


def _place(root: Path | None) -> Path:
    place = (root or Path()) / "fsdd"
    if not place.is_dir():
        raise DazooError(f"spoken_digits needs the folder {place}; put it there or name the data root by DAZOO_DATA")
    return place


PAPERS = (
    Paper(
        title="Jakobovski/free-spoken-digit-dataset: v1.0.8",
        authors="Zohar Jackson, César Souza, Jason Flaks, Yuxin Pan, Hereman Nicolas, Adhish Thite",
        year=2018,
        url="https://doi.org/10.5281/zenodo.1342401",
        venue="Zenodo (Data)",
    ),
)

register_dataset(
    Dataset(
        name="spoken_digits",
        domains=names,
        load=load,
        description="ten spoken digits, one domain per speaker, as log-mel spectrograms",
        options={"kind": "series", "bands": 40, "seconds": 0.8},
        check=check,
        needs_root=True,
        license="Free Spoken Digit Dataset (Jackson et al.), CC BY-SA 4.0",
        papers=PAPERS,
        splits=TEN_CLASSES,
    )
)
