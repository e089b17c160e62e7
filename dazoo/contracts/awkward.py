"""Data that people really have and algebra does not like: what is odd about it, and the arrays.

Every input is a pair of domains of classes in five dimensions to which one thing was done. All are tiny, so that every
method can be tried on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED, Setting
from dazoo.data.task import Task


@dataclass(frozen=True)
class Arrays:
    """Source ``xs`` (n, d) with classes ``ys`` (n,), target ``xt`` (m, d) with classes ``yt`` (m,); as values for
    regression they are multiples of ``unit``."""

    xs: np.ndarray
    ys: np.ndarray
    xt: np.ndarray
    yt: np.ndarray
    unit: float = 1.0

    def both(self, change: Callable[[np.ndarray], np.ndarray]) -> Arrays:
        """The same with all samples changed."""
        return replace(self, xs=change(self.xs), xt=change(self.xt))

    def rows(self, source: Any = None, target: Any = None) -> Arrays:
        """Only these rows; None keeps all."""
        s, t = (slice(None) if rows is None else rows for rows in (source, target))
        return replace(self, xs=self.xs[s], ys=self.ys[s], xt=self.xt[t], yt=self.yt[t])


def arrays(n: int = 24, dims: int = 5, classes: int = 3, shift: float = 0.5) -> Arrays:
    """Separated Gaussian classes, balanced, the target moved by ``shift``."""
    rng = np.random.default_rng(0)
    centres, y = 3 * rng.normal(size=(classes, dims)), np.arange(n) % classes
    xs, xt = (centres[y] + rng.normal(size=(n, dims)) / 2 for _ in "st")
    return Arrays(xs, y, xt + shift, y.copy())


def _outlier(a: Arrays, value: float) -> Arrays:
    xs, xt = a.xs.copy(), a.xt.copy()
    xs[0, 0] = xt[-1, -1] = value
    return replace(a, xs=xs, xt=xt)


def _columns(a: Arrays, values: Any) -> Arrays:
    """The first columns replaced by constants."""

    def change(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[:, : len(values)] = values
        return x

    return a.both(change)


def _counts(x: np.ndarray) -> np.ndarray:
    return np.maximum(np.round(x), 0)


def awkward_inputs() -> dict[str, Callable[[], Arrays]]:
    """What is odd about the data, and how to make it."""
    a = arrays()
    n, d = a.xs.shape
    return {
        "a constant feature": lambda: _columns(a, (7.0,)),
        "one sample per class": lambda: a.rows(slice(3), slice(3)),
        "a source of four samples": lambda: a.rows(slice(4)),
        "a target of two samples": lambda: a.rows(None, slice(2)),
        "a class with a single sample": lambda: a.rows((a.ys != 2) | (np.arange(n) == 2)),
        "repeated samples": lambda: a.rows(np.arange(n) % 3, np.arange(n) % 3),
        "a target that repeats one sample": lambda: a.rows(None, np.zeros(n, int)),
        "samples that are all the same": lambda: a.both(np.zeros_like),
        "the same samples in both domains": lambda: Arrays(a.xs, a.ys, a.xs.copy(), a.ys.copy()),
        "a target of copies of the source": lambda: Arrays(a.xs, a.ys, np.tile(a.xs, (2, 1)), np.tile(a.ys, 2)),
        "domains that lie far apart": lambda: replace(a, xt=a.xt + 1e6),
        "a class that the target lacks": lambda: a.rows(None, a.yt < 2),
        "a target of one class": lambda: a.rows(None, a.yt < 1),
        "one feature": lambda: arrays(dims=1, classes=2),
        "no feature": lambda: a.both(lambda x: x[:, :0]),
        "more features than samples": lambda: arrays(n=12, dims=40),
        "features that are zero": lambda: _columns(a, (0.0, 0.0)),
        "a feature that is another one's multiple": lambda: a.both(lambda x: np.c_[x, 2 * x[:, :1]]),
        "features of unlike scales": lambda: a.both(lambda x: x * 10.0 ** np.linspace(-6, 6, d)),
        "one feature of a million times the scale": lambda: a.both(lambda x: x * np.r_[1e6, np.ones(d - 1)]),
        "an offset of a million": lambda: a.both(lambda x: x + 1e6),
        "an outlier": lambda: _outlier(a, 1e6),
        "an entry of 1e300": lambda: _outlier(a, 1e300),
        "features of 1e-150": lambda: a.both(lambda x: x * 1e-150),
        "features of 1e150": lambda: a.both(lambda x: x * 1e150),
        "features of 1e-30": lambda: a.both(lambda x: x * 1e-30),
        "features of 1e30": lambda: a.both(lambda x: x * 1e30),
        "features of 1e300": lambda: a.both(lambda x: x * 1e300),
        "denormal features": lambda: a.both(lambda x: x * 1e-315),
        "values that are all the same": lambda: replace(a, unit=0.0),
        "values of 1e150": lambda: replace(a, unit=1e150),
        "values of 1e-150": lambda: replace(a, unit=1e-150),
        "counts, most of them zero": lambda: a.both(lambda x: _counts(x - 1).astype(np.int64)),
    }


def awkward_task(data: Arrays, setting: Setting = UNSUPERVISED, regression: bool = False) -> Task:
    """The arrays as a task in ``setting``; for regression the values are a sum of features plus the class.

    Raises:
        DazooError: no task can be made of them, as of few labels of a target that is too small.
    """
    ys, yt = data.ys, data.yt
    if regression:
        scale = max(float(np.abs(data.xs).max(initial=0.0)), 1e-300)
        pairs = ((data.xs, data.ys), (data.xt, data.yt))
        ys, yt = (data.unit * ((x.astype(float) / scale).sum(1) + y + 0.25) for x, y in pairs)
    kind: dict[str, Any] = {"targets": "values"} if regression else {}
    if setting == MULTI_SOURCE:
        return Task.from_arrays(
            [data.xs, data.xs[::-1].copy()], [ys, ys[::-1].copy()], data.xt, yt, setting=setting, **kind
        )
    options: dict[str, Any] = {"few_per_class": 1} if setting.shows_labels else {}
    xt = data.xt
    if setting.spaces == "own":  # the same oddities in other features: in another order, one of them twice
        xt = np.concatenate([xt[:, ::-1], xt[:, :1]], 1)
    return Task.from_arrays(data.xs, ys, xt, yt, setting=setting, **options, **kind)
