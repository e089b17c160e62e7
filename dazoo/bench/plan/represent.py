"""Feature transfer before the comparison: every method of a suite sees the data through one learned representation.

A suite's ``represent`` names a feature map of the registry. It is fitted once per task on what the task shows
(labelled source, unlabelled target, no test part), and every domain is mapped by it. All methods then start from the
same vectors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure
from dazoo.core.memo import Memo
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.methods.base import METHODS, Context
from dazoo.methods.shallow import FeatureMap
from dazoo.shallow.steps import Step, run_steps

ROWS = 1024


def feature_map(name: str, **options: Any) -> FeatureMap:
    """The feature map called ``name`` with checked hyper-parameters.

    Raises:
        DazooError: the method learns no representation.
    """
    cls = METHODS.get(name)
    if not issubclass(cls, FeatureMap):
        raise DazooError(f"{name!r} learns no representation that other methods could start from; name a feature map")
    made: FeatureMap = configure(cls, options)
    return made


def represented(task: Task, method: FeatureMap, seed: int) -> Task:
    """``task`` over the representation that ``method`` learns from what the task shows; float32 vectors.

    Raises:
        DazooError: the method also weighs source samples, which no representation can hold.
    """
    context = Context(gen=torch.Generator().manual_seed(seed), classifier=None, memo=Memo())
    aligned = method.align(task.seen(), context)
    if aligned.weights is not None:
        raise DazooError(f"{method.name!r} weighs source samples; a representation cannot hold weights")
    for_source = aligned.target_steps if aligned.source_steps is None else aligned.source_steps
    return replace(
        task,
        sources=tuple(_mapped(replace(d, test=None), for_source) for d in task.sources),
        target=_mapped(task.target, aligned.target_steps),
    )


def _mapped(domain: Domain, steps: tuple[Step, ...]) -> Domain:
    test = None if domain.test is None else domain.test.with_x(_rows(domain.test.x, steps))
    return domain.with_x(_rows(domain.x, steps), test=test)


def _rows(x: Tensor, steps: tuple[Step, ...]) -> Tensor:
    """Block by block: the representation in float64 may be several times the data."""
    return torch.cat([run_steps(steps, part.flatten(1).to(torch.float64)).float() for part in x.split(ROWS)])
