"""Small tasks on which promises are tried: three Gaussian classes in eight dimensions, shifted in the target; where a
setting says so, source and target hold different ones."""

from __future__ import annotations

import dataclasses
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from dazoo.core.hparam import configure
from dazoo.core.setting import PRESETS, UNSUPERVISED, Setting
from dazoo.data.task import Task
from dazoo.engine.fit import FitResult, Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import GradientMethod, Method, StreamMethod

HELD = {"partial": ((0, 1, 2), (0, 1)), "open": ((0, 1), (0, 1, 2)), "universal": ((0, 1, 2), (0, 1, 3))}
"""Classes of source and target where they differ."""
TINY = Recipe.named("digits", steps=12, batch=16, bottleneck=8, few_steps=0)


def toy_task(
    setting: Setting = UNSUPERVISED,
    regression: bool = False,
    n: int = 60,
    shift: float = 1.0,
    seed: int = 0,
    dims: int = 8,
) -> Task:
    """``n`` samples per domain; the target is moved by ``shift`` and slightly rotated."""
    rng = np.random.default_rng(seed)
    centres = 2.5 * rng.normal(size=(3, dims)) / np.sqrt(dims) * 2
    centres = np.vstack([centres, -centres.sum(0)])
    setting = Setting.of(setting)
    of_source, of_target = HELD.get(setting.labels, ((0, 1, 2), (0, 1, 2)))
    turn = np.eye(dims)
    turn[:2, :2] = [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]

    def draw(move: float, held: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        y = np.array(held)[np.arange(n) % len(held)]
        x = centres[y] + rng.normal(size=(n, dims))
        if move:
            x = x @ turn.T + move * np.linspace(1, -1, dims)
        return x.astype(np.float32), y

    (xs, ys), (x2, y2), (xt, yt) = draw(0.0, of_source), draw(0.0, of_source), draw(shift, of_target)
    if regression:
        beta = rng.normal(size=dims)
        ys, yt = (xs @ beta).astype(np.float32), (xt @ beta).astype(np.float32)
    if setting.spaces == "own":  # other features, fewer and mixed
        xt = (xt @ rng.normal(size=(dims, dims - 2)) / np.sqrt(dims)).astype(np.float32)
    many = setting.n_sources == "many"
    sources, labels = ([xs, x2], [ys, y2]) if many else (xs, ys)
    made = Task.from_arrays(sources, labels, xt, yt, setting=setting, source_holdout=0.2, few_per_class=3)
    return made.change(budget=0.3, ask_rounds=3, batch=16)  # for settings that the task may be asked in later


def setting_of(cls: type[Method]) -> Setting:
    """The setting a method is tried in."""
    return next(s for s in PRESETS.values() if s in cls.settings)


def settings_of(cls: type[Method]) -> list[Setting]:
    """The setting a method is tried in, and that with each other answer to which classes the domains hold."""
    first = setting_of(cls)
    return [first, *(first.change(labels=k) for k in HELD if k in cls.handles.labels and k != first.labels)]


def task_for(cls: type[Method], **options: Any) -> Task:
    """A toy task that the method can run."""
    return toy_task(setting_of(cls), regression="classes" not in cls.targets, **options)


def is_gradient(cls: type[Method]) -> bool:
    return issubclass(cls, GradientMethod)


def options_for(cls: type[Method], recipe: Recipe = TINY, **fields: Any) -> Options:
    """How the method is fitted here: a dozen steps on a small network, or the default classifier."""
    trains = issubclass(cls, (GradientMethod, StreamMethod))
    backbone = fields.pop("backbone", "mlp" if trains else "none")
    if getattr(cls, "needs_batch_norm", False) or issubclass(cls, StreamMethod):
        recipe = dataclasses.replace(recipe, norm="batch")
    return Options(recipe=recipe if trains else None, backbone=backbone, **fields)


def fit_toy(
    cls: type[Method], task: Task | None = None, seed: int = 0, recipe: Recipe = TINY, **hparams: Any
) -> FitResult:
    """Fit a method on its toy task.

    A class's ``toy_hparams`` are values under which a dozen steps are enough to show all of its terms, e.g. a low
    confidence threshold.
    """
    hparams = {**getattr(cls, "toy_hparams", {}), **hparams}
    task = task or task_for(cls)
    return fit(configure(cls, hparams), task.seen(), seed=seed, options=options_for(cls, recipe))


_DEFAULT_FITS: WeakKeyDictionary[type[Method], FitResult] = WeakKeyDictionary()


def default_fit(cls: type[Method]) -> FitResult:
    """The fit of a method on its toy task at its defaults with seed 0, made once for all checks that only look at it.

    It starts at a global random state of its own, so that a fit at another state shows what depends on it.
    """
    if cls not in _DEFAULT_FITS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            _DEFAULT_FITS[cls] = fit_toy(cls)
    return _DEFAULT_FITS[cls]
