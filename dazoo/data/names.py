"""Names of tasks and of classes. Apart from the registry, so that what only reads records needs no torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from dazoo.core.errors import DazooError, DazooWarning


def split_name(name: str) -> tuple[str, tuple[str, ...], str]:
    """``dataset/a+b->t`` as ``(dataset, (a, b), t)``; of several targets, ``t`` is ``u+v`` (``targets_of``)."""
    dataset, slash, pair = name.partition("/")
    left, arrow, target = pair.rpartition("->")
    sources = tuple(s for s in left.split("+") if s)
    if not (slash and arrow and dataset and sources and target):
        raise DazooError(f"task {name!r} is not of the form dataset/source->target (several sources: a+b->target)")
    if len({*sources, *targets_of(target)}) < len(sources) + len(targets_of(target)) and not any(
        ch in pair for ch in "*?["
    ):
        raise DazooError(f"task {name!r} names a domain twice; sources and target must all be different domains")
    return dataset, sources, target


def targets_of(target: str) -> tuple[str, ...]:
    """The targets that a task pools: ``u+v`` as ``(u, v)``."""
    return tuple(t for t in target.split("+") if t)


def dataset_of(task: str) -> str:
    """The dataset of a task as its suite calls it: how the task's name begins."""
    return task.partition("/")[0]


def point_out(classes: Iterable[str]) -> None:
    """Warn of classes whose names differ by capitals or spaces alone: two spellings of one class, most likely."""
    spelled: dict[str, list[str]] = {}
    for name in classes:
        spelled.setdefault(" ".join(name.split()).casefold(), []).append(name)
    twice = [names for names in spelled.values() if len(names) > 1]
    if twice:
        warnings.warn(
            f"the classes {', '.join(map(repr, twice[0]))} differ by capitals or spaces alone and are taken as "
            "different classes; make them one where they mean the same",
            DazooWarning,
            stacklevel=4,
        )
