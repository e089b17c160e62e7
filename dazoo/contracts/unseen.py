"""The promise where the target is never seen: another target gives the same model."""

from __future__ import annotations

from dazoo.contracts.failure import difference, require
from dazoo.contracts.toys import fit_toy, toy_task
from dazoo.core.setting import PRESETS, Setting
from dazoo.methods.base import Method


def unseen_settings(cls: type[Method]) -> list[Setting]:
    """The named settings of unseen targets that a method handles."""
    return [s for s in PRESETS.values() if s.target == "unseen" and s in cls.settings]


def check_unseen_target(cls: type[Method]) -> None:
    """Other samples in the target, and another number of them, change no bit of the model."""
    values = "classes" not in cls.targets
    for setting in unseen_settings(cls):
        task = toy_task(setting, regression=values)
        moved = toy_task(setting, regression=values, n=90, shift=5.0, seed=1).target
        found = difference(fit_toy(cls, task).predictor, fit_toy(cls, task.change(target=moved)).predictor)
        require(
            not found,
            f"in the setting {setting} another target gives another model: {found}. Nothing of the target may be used "
            "before the test, neither its samples nor how many there are",
        )
