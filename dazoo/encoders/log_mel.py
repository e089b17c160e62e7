"""Recordings as log-mel spectrograms.

S = log(1e-3 + M |STFT|) with a Hann window of 25 ms every 10 ms, the peak of each recording scaled to 1, and M (bands,
frequencies) triangular filters whose centres are equally spaced on the mel scale m(f) = 2595 log10(1 + f / 700) up to
half the sampling rate. A silent recording is log(1e-3) everywhere. Every band is then centred and scaled by its mean
and deviation over the frames of the source's recordings.

``form``: ``series`` (bands, frames) of ``seconds``, longer recordings lose their end and shorter ones end in silence;
or ``vector``, the spectrogram averaged within eight equal parts of the recording (8 bands numbers). ``seconds`` 0
takes the length below which 95 of 100 recordings of the source and the target stay, at most 10.

Source: Davis & Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", 1980.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.data.audio import SHORTEST
from dazoo.data.raw import Ragged
from dazoo.encoders.base import Encoder, Fitted, register

FLOOR = 1e-3
SEGMENTS = 8
LONGEST = 10.0  # seconds that a series has at most unless somebody says so
SHARE = 0.95


@dataclass(frozen=True)
class FittedLogMel(Fitted):
    """For recordings of ``rate`` steps per second; ``frames`` of a series, 0 for vectors."""

    rate: float
    bands: int
    frames: int
    mean: Tensor
    scale: Tensor
    notes: tuple[str, ...] = ()

    def said(self) -> list[str]:
        return list(self.notes)

    @property
    def makes(self) -> str:  # type: ignore[override]
        return "audio" if self.frames else "vector"

    def __call__(self, x: Any) -> Tensor:
        if x.rate and x.rate != self.rate:
            raise DazooError(f"recordings have {x.rate:g} steps per second, not {self.rate:g}; resample them first")
        return torch.stack([self._one(spectrogram(signal, self.rate, self.bands)) for signal in x])

    def _one(self, found: Tensor) -> Tensor:
        found = (found - self.mean[:, None]) / self.scale[:, None]
        if not self.frames:
            return torch.nn.functional.adaptive_avg_pool1d(found, SEGMENTS).flatten()
        row = ((float(np.log(FLOOR)) - self.mean) / self.scale)[:, None].repeat(1, self.frames)
        kept = min(self.frames, found.shape[1])
        row[:, :kept] = found[:, :kept]
        return row


@register
class LogMel(Encoder):
    """Log-mel spectrograms of recordings, as series for networks or averaged to vectors."""

    takes = ("audio",)
    default_for = ("audio",)

    bands: int = hp(40, least=4, most=256, help="mel bands")
    seconds: float = hp(0.0, least=0, most=600, help="length of a series; 0 takes that of the recordings")
    form: str = hp("series", choices=("series", "vector"), help="spectrograms for networks, or vectors for all methods")

    def fit(self, source: Any, target: Any) -> FittedLogMel:
        rows: Ragged = source.join([target]) if len(target) else source
        rate = rows.rate or 16_000.0
        lengths = rows.lengths / rate
        notes = _silence(source, target)
        if short := int((lengths < SHORTEST).sum()):
            notes.append(
                f"{short} of {len(rows)} recordings are shorter than 10 ms at {rate:g} steps per second, which says "
                "nothing: remove them, or say the rate: Ragged.of(waves, 'audio', rate=...)"
            )
        seconds = self.seconds or min(LONGEST, float(np.quantile(lengths, SHARE)))
        frames = max(8, round(seconds * 100)) if self.form == "series" else 0
        cut = float((lengths > frames / 100).mean()) if frames else 0.0
        if cut > 1 - SHARE:
            notes.append(f"{cut:.0%} of the recordings are longer than {frames / 100:g} s, and their end is not seen")
        every = torch.cat([spectrogram(signal, rate, self.bands) for signal in source], 1)
        scale = every.std(1, correction=0)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return FittedLogMel(rate, self.bands, frames, every.mean(1), scale, tuple(notes))

    def for_vectors(self) -> LogMel:
        return replace(self, form="vector")


def _silence(source: Ragged, target: Ragged) -> list[str]:
    """Sentences about recordings without any sound.

    Raises:
        DazooError: one side has no other.
    """
    notes = []
    for side, rows in (("source", source), ("target", target)):
        silent = sum(not np.ptp(row.mean(1)) for row in rows)
        if silent and silent == len(rows):
            raise DazooError(f"all {silent} recordings of the {side} are silent; look at how they were made or read")
        if silent:
            notes.append(f"{silent} of {len(rows)} recordings of the {side} are silent, and alike to every method")
    return notes


def spectrogram(signal: np.ndarray, rate: float, bands: int) -> Tensor:
    """The log-mel spectrogram (bands, frames) of a recording (length, channels)."""
    x = torch.from_numpy(np.ascontiguousarray(signal, dtype=np.float32)).mean(1)
    x = x / x.abs().max().clamp_min(1e-8) if bool((x != 0).any()) else x
    window, hop = max(4, round(0.025 * rate)), max(1, round(0.01 * rate))
    size = 1 << (window - 1).bit_length()
    if len(x) < size:
        x = torch.nn.functional.pad(x, (0, size - len(x)))
    transformed = torch.stft(
        x, size, hop, window, torch.hann_window(window), center=True, pad_mode="constant", return_complex=True
    )
    scaled = transformed.abs() / (window / 4)
    return torch.log(FLOOR + mel_filters(bands, rate, size) @ scaled)


@lru_cache(maxsize=8)
def mel_filters(bands: int, rate: float, size: int) -> Tensor:
    """Triangular filters (bands, size / 2 + 1) between 0 Hz and half the sampling rate.

    Each has at least the frequency nearest to its centre, so that none is empty where bands are narrow.
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    f = np.linspace(0, rate / 2, size // 2 + 1)[None]
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    made = np.maximum(0, np.minimum((f - low) / (mid - low), (high - f) / (high - mid)))
    nearest = np.abs(f - mid).argmin(1)
    empty = made.sum(1) == 0
    made[empty, nearest[empty]] = 1.0
    return torch.from_numpy(made).float()
