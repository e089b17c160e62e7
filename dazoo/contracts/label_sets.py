"""Promises where source and target may have different classes: nothing of it is seen, and unknown samples are told."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from dazoo.contracts.failure import difference, require
from dazoo.contracts.toys import default_fit, fit_toy, setting_of, task_for, toy_task
from dazoo.core.types import Prediction
from dazoo.methods.base import Method

UNKNOWN = ("open", "universal")


def check_all_classes(cls: type[Method]) -> None:
    """A partial task whose target holds all classes gives the model of the closed one, bit for bit."""
    task = task_for(cls)
    partial = task.change(setting=task.setting.change(labels="partial"))
    found = difference(default_fit(cls).predictor, fit_toy(cls, partial).predictor)
    require(
        not found,
        f"where the target holds all classes, the partial task gives another model than the closed one: {found}. Weigh "
        "classes by what the target's samples look like, not by Seen.setting, or say told_partial = True and on the "
        "page what changes",
    )


def check_source_labels(cls: type[Method]) -> None:
    """Where no label is seen, other labels of the source give the same model, bit for bit."""
    task = toy_task(setting_of(cls).change(labels="unlabelled"))
    first, second = task.sources[0], task.sources[0].y
    assert second is not None
    other = dataclasses.replace(
        first, y=second[torch.randperm(len(second), generator=torch.Generator().manual_seed(0))]
    )
    changed = task.change(sources=(other, *task.sources[1:]))
    fitted = fit_toy(cls, task).predictor
    found = difference(fitted, fit_toy(cls, changed).predictor)
    require(
        not found,
        f"the model changes with labels of the source, which nobody sees there: {found}. Look for clusters of samples",
    )
    out = fitted.predict(task.target.x)
    require(
        out.cluster is not None and tuple(out.cluster.shape) == (len(task.target),),
        f"{cls.name} handles labels: unlabelled, but its predictions lack cluster; return Prediction(..., cluster=...)",
    )


def check_unknown(cls: type[Method]) -> None:
    """A method for targets with unknown samples says which they are: a finite score each, and a threshold."""
    for labels in UNKNOWN:
        if labels not in cls.handles.labels:
            continue
        task = toy_task(setting_of(cls).change(labels=labels))
        fitted: Any = fit_toy(cls, task).predictor
        out = fitted.predict(task.target.x)
        alone = dataclasses.replace(fitted, unsure=False).predict(task.target.x)  # without what the engine says for it
        require(
            alone.unknown is not None and out.threshold is not None,
            f"{cls.name} handles labels: {labels}, but its predictions lack unknown or threshold; return "
            "Prediction(scores, features, unknown=..., threshold=...) from predict",
        )
        _check_scores(out, labels, len(task.target), task.n_classes)


def _check_scores(out: Prediction, labels: str, n: int, n_classes: int) -> None:
    assert out.unknown is not None and out.threshold is not None
    require(tuple(out.unknown.shape) == (n,), f"unknown is of shape {tuple(out.unknown.shape)}, a score each is ({n},)")
    bad = int((~torch.isfinite(out.unknown)).sum())
    require(bad == 0, f"unknown is NaN or infinite for {bad} of {n} samples of the {labels} task; they count as known")
    require(not math.isnan(out.threshold), f"threshold is NaN on the {labels} task, so that nothing is unknown")
    for threshold, all_unknown in ((math.inf, False), (-math.inf, True)):
        said = dataclasses.replace(out, threshold=threshold).labels == n_classes
        require(
            bool((said == all_unknown).all()),
            f"with threshold {threshold} {int(said.sum())} of {n} samples are called unknown; scores (n, K) must have "
            "the source's classes alone, and unknown must be larger for less known samples",
        )
