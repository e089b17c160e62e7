"""The promise of tasks with several targets that are told apart: with one of them, they are tasks with one."""

from __future__ import annotations

import dataclasses

import torch

from dazoo.contracts.failure import difference, require
from dazoo.contracts.toys import default_fit, fit_toy, task_for
from dazoo.methods.base import Method


def tells_targets(cls: type[Method]) -> bool:
    """Whether the method runs both where there is one target and where several are told apart."""
    return {"one", "many"} <= set(cls.handles.n_targets)


def check_one_target(cls: type[Method]) -> None:
    """A task of several targets that holds one gives the model of the task of that target, bit for bit."""
    task = task_for(cls)
    marked = dataclasses.replace(task.target, member=torch.zeros(len(task.target), dtype=torch.int64))
    several = task.change(target=marked)
    assert several.setting.n_targets == "many"
    found = difference(default_fit(cls).predictor, fit_toy(cls, several).predictor)
    require(
        not found,
        f"where one target is all there is, telling it from others gives another model: {found}. Count targets by "
        "net.n_targets, not by Seen.setting, and let a term between targets be 0 where there is one",
    )
