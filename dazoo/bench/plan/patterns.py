"""From the task patterns of a suite to the tasks of each of its datasets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dazoo.bench.plan.entry import Entry
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError, UnknownName
from dazoo.data.registry import DATASETS, data_root, expand_tasks


def tasks_of(
    suite: Suite, parts: Sequence[Suite], options: Sequence[dict[str, Any]], root: str | Path | None
) -> list[list[str]]:
    """The names of the tasks of every part of a suite, each once, in the order of its patterns.

    A pattern that several datasets share has to match tasks of one of them. A dataset without any task is a mistake in
    a suite, and left out where a pattern from outside replaced the suite's.

    Args:
        parts: the suite on each dataset alone. options: of each dataset, defaults included.

    Raises:
        DazooError: a pattern that matches nothing, or a dataset of which no task is asked for.
    """
    sharing = [i for i, d in enumerate(suite.datasets) if not d.tasks]
    sharing = sharing if len(sharing) > 1 else []
    names = [[] if i in sharing else _own(one, options[i], root) for i, one in enumerate(parts)]
    errors: dict[int, DazooError] = {}
    for k, pattern in enumerate(suite.tasks if sharing else ()):
        failed = {
            i: e for i in sharing if (e := _collect(suite, parts[i], pattern, options[i], root, names[i])) is not None
        }
        if len(failed) == len(sharing):
            of = ", ".join(parts[i].labels[0] for i in sharing)
            raise suite.origin.error(("tasks", k), f"the task pattern {pattern!r} matches nothing in any of {of}")
        errors = failed | errors
    for i in sharing:
        if not names[i] and not suite.narrowed:
            problem = f"{errors[i]}; give {parts[i].labels[0]!r} a key 'tasks' of its own"
            raise suite.origin.error(("datasets", i), problem)
    return names


def _own(one: Suite, options: dict[str, Any], root: str | Path | None) -> list[str]:
    """The tasks of a part, each of whose patterns has to match."""
    names: list[str] = []
    for i, pattern in enumerate(one.tasks):
        hits = one.origin.check(("tasks", i), partial(_expanded, one, pattern, options, root), ("tasks",))
        names += [n for n in hits if n not in names]
    return names


def _collect(
    suite: Suite, one: Suite, pattern: str, options: dict[str, Any], root: str | Path | None, names: list[str]
) -> DazooError | None:
    """Add the tasks that match; the error where none does."""
    _check_root(one, root)
    start = pattern.partition("/")[0]
    if start in suite.labels and start not in one.labels:
        return DazooError(f"no task pattern of the suite is meant for {one.labels[0]!r}")
    try:
        names += [n for n in _expanded(one, pattern, options, root) if n not in names]
    except (DazooError, UnknownName) as error:
        return error
    return None


def _expanded(one: Suite, pattern: str, options: dict[str, Any], root: str | Path | None) -> list[str]:
    """Tasks that match a pattern, whose name may begin with the dataset; they begin with its label."""
    chosen = one.dataset
    assert isinstance(chosen, Entry)
    label = chosen.label or chosen.name
    starts = [s for s in (label, chosen.name) if pattern.startswith(f"{s}/")]
    pairs = pattern.removeprefix(f"{starts[0]}/") if starts else pattern
    _check_root(one, root)
    full = expand_tasks([f"{chosen.name}/{pairs}"], root, **options)
    return [f"{label}/{name.partition('/')[2]}" for name in full]


def _check_root(one: Suite, root: str | Path | None) -> None:
    if one.dataset is not None and DATASETS.get(one.dataset.name).needs_root and not data_root(root).is_dir():
        where = data_root(root)
        raise DazooError(f"the data root {where} does not exist; name it with --data-root or DAZOO_DATA")
