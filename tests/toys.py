"""The toy tasks of ``dazoo.contracts``, for tests that name methods of the registry."""

from __future__ import annotations

from dazoo.contracts import toys
from dazoo.contracts.failure import difference
from dazoo.contracts.toys import TINY, setting_of, task_for, toy_task
from dazoo.data.task import Task
from dazoo.engine.fit import FitResult, Options
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS

__all__ = ["TINY", "fit_toy", "is_gradient", "options_for", "same", "setting_of", "task_for", "toy_task"]


def is_gradient(name: str) -> bool:
    return toys.is_gradient(METHODS.get(name))


def options_for(name: str, recipe: Recipe = TINY, **fields) -> Options:
    return toys.options_for(METHODS.get(name), recipe, **fields)


def fit_toy(name: str, task: Task | None = None, seed: int = 0, recipe: Recipe = TINY, **hparams) -> FitResult:
    """Fit a method by name on its toy task."""
    return toys.fit_toy(METHODS.get(name), task, seed, recipe, **hparams)


def same(a: FitResult, b: FitResult) -> bool:
    """Whether two fitted models are equal bit for bit."""
    return not difference(a.predictor, b.predictor)
