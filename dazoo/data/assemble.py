"""From arrays as people give them to the domains of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dazoo.core.answers import UNKNOWN
from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.labels import Labels, are_classes, in_order, need_all, read, with_few
from dazoo.data.samples import Schema, read_all


def domain_of(name: str, x: Any, schema: Schema, y: Labels | None, classes: tuple[str, ...]) -> Domain:
    """Samples and labels as they were read, as a domain; labels become indices into ``classes``, or values."""
    if y is not None and len(y) != len(x):
        raise DazooError(f"{name} has {len(x)} samples but {len(y)} labels")
    coded = None if y is None else y.coded(classes) if classes else y.numbers()
    known = None if y is None else torch.from_numpy(y.known)
    return Domain(name, x, coded, classes, schema.kind, known=known, schema=schema)


def domains_of(
    xs: Any,
    ys: Any,
    xt: Any,
    yt: Any,
    xt_test: Any,
    yt_test: Any,
    few: Any,
    targets: str,
    unlabelled: Any,
    kind: str | None,
) -> tuple[tuple[Domain, ...], Domain]:
    """The sources and the target of ``Task.from_arrays``, whose arguments these are.

    Raises:
        DazooError: samples or labels that cannot be read, or do not belong together.
    """
    listed = several(xs, ys)
    xs, ys = (xs, ys) if listed else ([xs], [ys])
    if len(xs) != len(ys):
        raise DazooError(f"there are {len(xs)} arrays of source samples but {len(ys)} of source labels")
    places = [f"source{i}" for i in range(len(xs))] if listed and len(xs) > 1 else ["source"]
    parts = [*zip(places, xs), ("target", xt), *([] if xt_test is None else [("target's test part", xt_test)])]
    samples = read_all(parts, kind)
    labels = [read(y, f"the labels of {p}", unlabelled) for p, y in zip(places, ys)]
    for p, found in zip(places, labels):
        need_all(found.known, f"the labels of {p}")
    known = None if yt is None else read(yt, "the labels of the target", unlabelled)
    rows = None
    if few is not None:
        rows, known = with_few(few, known, len(samples[len(xs)][0]), unlabelled)
    tested = None if yt_test is None else read(yt_test, "the labels of the target's test part", unlabelled)
    classes = are_classes(labels, targets, "the source labels")
    hidden = [y for y in (known, tested) if y is not None]
    if targets == "auto" and hidden and any(y.known.any() for y in hidden) and classes:
        if not are_classes(hidden, "auto", "the target labels"):
            raise DazooError(
                "the source labels are whole numbers or text, hence classes, but the target labels are fractions; "
                "use one kind, or say targets='values' or targets='classes'"
            )
    elif not classes:
        are_classes(hidden, "values", "the target labels")
    names = in_order(set().union(*(y.present for y in (*labels, *hidden)))) if classes else ()
    sources = tuple(domain_of(p, *found, y, names) for p, found, y in zip(places, samples, labels))
    test = None if xt_test is None else domain_of("target", *samples[-1], tested, names)
    target = domain_of("target", *samples[len(xs)], known, names)
    return sources, replace(target, test=test, few=rows)


def several(xs: Any, ys: Any) -> bool:
    """Whether samples and labels are those of several sources."""
    lists = isinstance(xs, (list, tuple)) and isinstance(ys, (list, tuple)) and len(xs) > 0 and len(ys) > 0
    return lists and _ndim(xs[0]) >= 2 and _ndim(ys[0]) >= 1


def _ndim(x: Any) -> int:
    try:
        return np.ndim(x)
    except ValueError:  # lists of unlike length
        return 1


def what_of(domain: Domain) -> str:
    """What the labels of a domain are, as a word."""
    return "fractions" if domain.regression else "classes"


def classes_differ(task: str, a: Domain, b: Domain) -> str:
    """What is wrong with a closed-set task of two domains that hold different classes."""
    only_a, only_b = sorted(set(a.classes) - set(b.classes)), sorted(set(b.classes) - set(a.classes))
    return (
        f"task {task!r} is closed-set, but {a.name!r} and {b.name!r} have different classes: only in {a.name!r} "
        f"{only_a[:5]}, only in {b.name!r} {only_b[:5]}; keep the common classes in both"
    )


def told_apart(task: str, sources: tuple[Domain, ...], target: Domain) -> tuple[tuple[Domain, ...], Domain]:
    """Domains with other codes: the classes that sources have samples of, and after them, in the target, those that
    they have not."""
    listed = list(dict.fromkeys(c for s in sources for c in s.classes))
    if any(s.classes != sources[0].classes for s in sources):
        listed = list(in_order(listed))
    occurring = set().union(*(s.occurring for s in sources))
    known = tuple(c for c in listed if c in occurring)
    coded = tuple(s.coded_as(known) for s in sources)
    if UNKNOWN in known:
        raise DazooError(f"task {task!r} has a class called {UNKNOWN!r}, the word for none of them; rename it")
    if target.occurring and not target.occurring & set(known):
        raise DazooError(f"task {task!r}: source and target share no class, so that nothing can be recognised")
    private = tuple(c for c in target.classes if c in target.occurring and c not in known)
    return coded, target.coded_as((*known, *private))
