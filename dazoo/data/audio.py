"""Reading recordings: any format that soundfile knows, any sampling rate, one channel."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import numpy as np

from dazoo.core.errors import DazooError
from dazoo.data.raw import Ragged

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
SHORTEST = 0.01  # seconds


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The recording (length,) float32 in [-1, 1] with ``rate`` steps per second; several channels become their mean.

    Raises:
        DazooError: the file is damaged, too short, or needs soundfile.
    """
    signal, found = _plain_wave(path) if path.suffix.lower() == ".wav" else (None, 0)
    if signal is None:
        signal, found = _soundfile(path)
    if len(signal) < SHORTEST * found:
        raise DazooError(f"the recording {path} holds {len(signal)} steps, less than 10 ms; remove it")
    if not bool(np.isfinite(signal).all()):
        raise DazooError(f"the recording {path} holds NaN or infinite values; convert or remove it")
    return resampled(signal, found, rate)


def read_all(paths: Sequence[Path], rate: int) -> Ragged:
    """Recordings as rows of unlike length."""
    return Ragged.of([read_audio(path, rate) for path in paths], "audio", float(rate))


def resampled(signal: np.ndarray, found: int, rate: int) -> np.ndarray:
    """``signal`` (length,) of ``found`` steps per second with ``rate`` of them, low-pass filtered."""
    if found == rate:
        return signal.astype(np.float32)
    from scipy.signal import resample_poly

    common = gcd(found, rate)
    made: np.ndarray = resample_poly(signal, rate // common, found // common).astype(np.float32)
    return made


def _plain_wave(path: Path) -> tuple[np.ndarray | None, int]:
    """A 16-bit WAV file by the standard library; None for all that needs soundfile."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error):
        return None, 0
    if width != 2 or not rate:
        return None, 0
    samples = np.frombuffer(raw[: len(raw) // (2 * channels) * 2 * channels], dtype="<i2")
    return samples.reshape(-1, channels).mean(1) / 32768.0, rate


def _soundfile(path: Path) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError:
        raise DazooError(
            f"the recording {path} is no plain 16-bit WAV file; reading it needs: pip install soundfile"
        ) from None
    try:
        signal, rate = soundfile.read(str(path), dtype="float64", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise DazooError(f"the recording {path} is damaged or of an unknown format ({error}); convert it") from error
    return signal.mean(1), int(rate)
