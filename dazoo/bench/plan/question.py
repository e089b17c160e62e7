"""The setting in which a suite's method runs a task: what the suite asks, matched with what the method handles."""

from __future__ import annotations

from typing import Any

from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED, Setting
from dazoo.data.label_sets import LabelSets, setting_with
from dazoo.data.prior_shift import PriorShift, setting_under
from dazoo.engine.fit import solver_of
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import Method


def setting_of(
    cls: type[Method],
    recipe: dict[str, Any] | None,
    classes: dict[str, Any] | None,
    prior: dict[str, Any] | None,
    suite: Suite,
    n_sources: int,
    n_targets: int,
    targets: str,
) -> tuple[Setting | None, str]:
    """The setting a method runs a task in, or the reason why it cannot; decided by what the class declares."""
    if targets not in cls.targets:
        return None, f"predicts {' and '.join(sorted(cls.targets))}, but the dataset has {targets}"
    try:
        solver_of(cls, None if recipe is None else Recipe.named(recipe["name"]))
    except DazooError:
        return None, "is trained by gradients, and no recipe is given"
    wanted = MULTI_SOURCE if n_sources > 1 else UNSUPERVISED
    if suite.setting != "auto":
        wanted = Setting.of(suite.setting)
    sets = None if classes is None else LabelSets.of(classes, {})
    shift = None if prior is None else PriorShift.of_option(prior)
    wanted = setting_under(setting_with(wanted, sets), shift)
    wanted = wanted.told_targets(n_targets > 1)
    problem = ""
    for marked in dict.fromkeys((wanted.marked, "few", "half", "none")):
        # a method that is shown labels sees several sources as one; one that takes none runs without, as a baseline
        setting = wanted if marked == wanted.marked else wanted.change(marked=marked, n_sources="one")
        reason = cls.handles.problem(setting, suite.closed_set_baselines)
        if not reason:
            return setting, ""
        problem = problem or reason
        if n_sources > 1 and setting == wanted and not cls.handles.problem(wanted.change(n_sources="one")):
            return None, "takes a single source"
    if not cls.handles.problem(wanted, baseline=True):
        return None, f"is a method of the closed set ({problem}); closed_set_baselines: true runs it as a baseline"
    return None, problem


def closed_set_baseline(cls: type[Method], setting: Setting) -> bool:
    """Whether a method runs in ``setting`` as a baseline only: it assumes that both sides have the same classes."""
    return setting.labels != "closed" and bool(cls.handles.problem(setting))


def reads_source(cls: type[Method], setting: Setting) -> bool:
    """Whether a method reads source samples at set-up where the setting leaves a model of them only."""
    return setting.source != "data" and bool(getattr(cls, "needs_source_stats", False))
