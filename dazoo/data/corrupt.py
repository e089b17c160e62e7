"""Corruptions of pictures in five severities, in the manner of Hendrycks and Dietterich, ICLR 2019: noise, blur, low
contrast and haze. Every one is a function of pictures (n, h, w) or (n, h, w, c) in [0, 1] and of a seeded generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dazoo.core.errors import DazooError, nearest

SEVERITIES = (1, 2, 3, 4, 5)
SIGMA = (0.08, 0.14, 0.20, 0.28, 0.38)  # of noise
RADIUS = (0.18, 0.24, 0.30, 0.375, 0.45)  # of blur, as a share of the square root of the side
CONTRAST = (0.60, 0.45, 0.35, 0.25, 0.15)  # what is left of it
HAZE = (0.30, 0.45, 0.60, 0.75, 0.90)  # how dense it is


def noise(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """``x + sigma e`` with e normal in every pixel."""
    return x + SIGMA[severity - 1] * rng.standard_normal(x.shape)


def blur(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian filter over both axes of a picture; its radius grows with the square root of the side."""
    from scipy import ndimage

    radius = RADIUS[severity - 1] * np.sqrt(np.mean(x.shape[1:3]))
    return np.asarray(ndimage.gaussian_filter(x, (0.0, radius, radius, *[0.0] * (x.ndim - 3))))


def contrast(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """``c (x - mean) + mean`` with the mean of every picture and colour."""
    mean = x.mean(axis=(1, 2), keepdims=True)
    return CONTRAST[severity - 1] * (x - mean) + mean


def haze(x: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """``(1 - d) x + d 0.9`` with a density d that varies smoothly over every picture, 0.5 to 1 times the severity's."""
    density = HAZE[severity - 1] * (0.5 + 0.5 * smooth_fields(x.shape[:3], rng))
    density = density.reshape(*density.shape, *[1] * (x.ndim - 3))
    return (1 - density) * x + density * 0.9


def smooth_fields(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Smooth random fields (n, h, w), each from 0 to 1: white noise under a filter a quarter of the side wide."""
    from scipy import ndimage

    _, height, width = shape
    found = ndimage.gaussian_filter(rng.standard_normal(shape), (0.0, height / 4, width / 4), mode="wrap")
    low, high = (f(found, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return np.asarray((found - low) / np.maximum(high - low, 1e-12))


KINDS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    "noise": noise, "blur": blur, "contrast": contrast, "haze": haze,
}  # fmt: skip
NAMES = tuple(f"{kind}-{severity}" for kind in KINDS for severity in SEVERITIES)
"""Corruptions as domains are named: ``noise-3``."""


def corrupted(x: np.ndarray, name: str, *seed: int) -> np.ndarray:
    """Pictures (n, h, w) or (n, h, w, c) in [0, 1] under a corruption such as ``noise-3``, in [0, 1] again.

    Raises:
        DazooError: there is no such corruption.
    """
    if name not in NAMES:
        raise DazooError(f"unknown corruption {name!r}: {nearest(name, NAMES)}")
    kind, _, severity = name.partition("-")
    rng = np.random.default_rng([*seed, list(KINDS).index(kind), int(severity)])
    return np.clip(KINDS[kind](x, int(severity), rng), 0.0, 1.0)


def halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,), ascending, of two halves with the classes in equal shares: what stays clean, and what is corrupted."""
    rng = np.random.default_rng([seed, 2])
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)])
    return np.sort(dealt[::2]), np.sort(dealt[1::2])
