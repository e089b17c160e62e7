"""What ``Task.from_arrays`` is given, as domains: one or several sources, and one or several targets in one pool."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.assemble import domain_of, ndim, several
from dazoo.data.domain import Domain
from dazoo.data.labels import Labels, are_classes, in_order, need_all, read, with_few
from dazoo.data.leaks import labels_among, without_labels
from dazoo.data.names import point_out
from dazoo.data.raw import joined
from dazoo.data.samples import Schema, read_all

Samples = tuple[Any, Schema]


def assembled(
    xs: Any,
    ys: Any,
    xt: Any,
    yt: Any = None,
    *,
    target_domain: Any = None,
    xt_test: Any = None,
    yt_test: Any = None,
    few: Any = None,
    targets: str = "auto",
    unlabelled: Any = None,
    kind: str | None = None,
    own: bool = False,
) -> tuple[tuple[Domain, ...], Domain]:
    """The sources and the target of ``Task.from_arrays``, whose arguments these are; several targets are one pool.

    ``own``: whether source and target have different features, so that each side is read by itself.
    """
    names, xs, ys = _by_name(xs, ys)
    listed = bool(names) or several(xs, ys)
    xs, ys = (xs, ys) if listed else ([xs], [ys])
    if len(xs) != len(ys):
        raise DazooError(f"there are {len(xs)} arrays of source samples but {len(ys)} of source labels")
    if among := labels_among(xs, ys):
        xs, xt = without_labels(xs, among, "the source"), without_labels(xt, among, "the target")
        xt_test = without_labels(xt_test, among, "the target's test part")
    places = list(names) if names else [f"source{i}" for i in range(len(xs))] if listed and len(xs) > 1 else ["source"]
    axes = _axes(xs[0])
    given = Given.of(xt, yt, target_domain, axes)
    test = None if xt_test is None else Given.of(xt_test, yt_test, None, axes)
    if test is not None and test.names != given.names:
        raise DazooError(
            f"the targets are {', '.join(given.names)}, but their test parts {', '.join(test.names)}; give both as "
            "dictionaries with the same names"
        )
    of_target = [*given.parts(), *([] if test is None else test.parts("'s test part"))]
    sides = [[*zip(places, xs)], of_target] if own else [[*zip(places, xs), *of_target]]
    samples = [found for side in sides for found in read_all(side, kind)]
    labels = [read(y, f"the labels of {p}", unlabelled) for p, y in zip(places, ys)]
    for p, found in zip(places, labels):
        need_all(found.known, f"the labels of {p}")
    cut = len(xs) + len(given.xs)
    shown, tested = samples[len(xs) : cut], samples[cut:]
    known = given.labels([len(x) for x, _ in shown], unlabelled)
    rows = None
    if few is not None:
        rows, known = with_few(few, known, sum(len(x) for x, _ in shown), unlabelled)
    known_test = None
    if test is not None:
        known_test = test.labels([len(x) for x, _ in tested], unlabelled, "'s test part")
    elif yt_test is not None:
        known_test = read(yt_test, "the labels of the target's test part", unlabelled)
    classes = are_classes(labels, targets, "the source labels")
    hidden = [y for y in (known, known_test) if y is not None]
    if targets == "auto" and hidden and any(y.known.any() for y in hidden) and classes:
        if not are_classes(hidden, "auto", "the target labels"):
            raise DazooError(
                "the source labels are whole numbers or text, hence classes, but the target labels are fractions; "
                "use one kind, or say targets='values' or targets='classes'"
            )
    elif not classes:
        are_classes(hidden, "values", "the target labels")
    if few is not None and classes and known is not None and rows is not None:
        _point_out_new(known, rows, labels)
    called = in_order(set().union(*(y.present for y in (*labels, *hidden)))) if classes else ()
    point_out(called)
    sources = tuple(domain_of(p, *found, y, called) for p, found, y in zip(places, samples, labels))
    part = None if test is None else test.domain(tested, known_test, called)
    return sources, replace(given.domain(shown, known, called), test=part, few=rows)


def _by_name(xs: Any, ys: Any) -> tuple[tuple[str, ...], Any, Any]:
    """Sources that came as dictionaries: their names, samples and labels; no names where they came otherwise."""
    if not isinstance(xs, Mapping) or hasattr(xs, "columns"):
        return (), xs, ys
    if not xs or not isinstance(ys, Mapping) or set(xs) != set(ys):
        raise DazooError(
            "the sources are a dictionary of arrays by name, so their labels are one too, with the same names; one "
            "table is a data frame"
        )
    return _checked(tuple(map(str, xs)), "sources"), list(xs.values()), [ys[name] for name in xs]


def _point_out_new(known: Labels, rows: Tensor, sources: list[Labels]) -> None:
    """Warn of classes that labelled target samples have, and no source."""
    found = [str(n) for n in known.names[rows.numpy()]]
    new = [n for n in dict.fromkeys(found) if n not in set().union(*(s.present for s in sources))]
    if new:
        some = ", ".join(f"{n!r} ({found.count(n)})" for n in new[:5])
        warnings.warn(
            f"few labels target samples as {some}, of which no source has a sample: correct what is a slip; else only "
            "methods that learn from few labels know such classes",
            DazooWarning,
            stacklevel=4,
        )


@dataclass(frozen=True)
class Given:
    """Samples and labels of one or several targets as they were given, told apart by ``names``.

    ``member`` (n,) says of which target a sample is where they came as one array.
    """

    names: tuple[str, ...]
    xs: list[Any]
    ys: list[Any]
    member: Tensor | None = None

    @classmethod
    def of(cls, xt: Any, yt: Any, target_domain: Any, axes: int) -> Given:
        """From a list or a dictionary of arrays with ``axes`` axes each, or one array and a domain for each sample."""
        if target_domain is not None:
            found = read(target_domain, "target_domain")
            need_all(found.known, "target_domain")
            names = in_order(found.present)
            n = len(xt) if hasattr(xt, "__len__") else None
            if n is not None and len(found) != n:
                raise DazooError(f"there are {n} target samples, but target_domain names that of {len(found)}")
            return cls(_checked(names), [xt], [yt], found.coded(names) if len(names) > 1 else None)
        if isinstance(xt, Mapping):
            if not xt:
                raise DazooError("the dictionary of targets is empty; give at least one target")
            if yt is not None and (not isinstance(yt, Mapping) or set(yt) - set(xt)):
                raise DazooError("the targets are a dictionary, so their labels are one too, with the same names")
            return cls(_checked(tuple(str(k) for k in xt)), [*xt.values()], [(yt or {}).get(k) for k in xt])
        if not isinstance(xt, (list, tuple)) or not len(xt) or any(_axes(x) != axes for x in xt):
            return cls(("target",), [xt], [yt])
        ys = [None] * len(xt) if yt is None else list(yt) if len(xt) > 1 or several(xt, yt) else [yt]
        if len(ys) != len(xt):
            raise DazooError(f"there are {len(xt)} arrays of target samples but {len(ys)} of target labels")
        return cls(tuple(f"target{i}" for i in range(len(xt))) if len(xt) > 1 else ("target",), [*xt], ys)

    def places(self, what: str = "") -> list[str]:
        """What messages call the targets."""
        return [f"{n if n.startswith('target') else f'target {n!r}'}{what}" for n in self.names[: len(self.xs)]]

    def parts(self, what: str = "") -> list[tuple[str, Any]]:
        """The samples with their names for messages."""
        return list(zip(["target" + what] if len(self.xs) == 1 else self.places(what), self.xs))

    def labels(self, counts: list[int], unlabelled: Any, what: str = "") -> Labels | None:
        """All labels in the order of the samples; None where there are none."""
        if all(y is None for y in self.ys):
            return None
        places = ["the target" + what] if len(self.ys) == 1 else self.places(what)
        found = [None if y is None else read(y, f"the labels of {p}", unlabelled) for p, y in zip(places, self.ys)]
        if len(found) == 1:
            return found[0]
        for place, labels, count in zip(places, found, counts):
            if labels is not None and len(labels) != count:
                raise DazooError(f"{place} has {count} samples but {len(labels)} labels")
        return _behind_each_other(found, counts)

    def domain(self, samples: list[Samples], labels: Labels | None, classes: tuple[str, ...]) -> Domain:
        """All samples as one domain, whose ``member`` tells the targets apart."""
        x = samples[0][0] if len(samples) == 1 else joined([x for x, _ in samples])
        made = domain_of("+".join(self.names), x, samples[0][1], labels, classes)
        member = self.member
        if len(samples) > 1:
            member = torch.cat([torch.full((len(x),), i) for i, (x, _) in enumerate(samples)])
        if member is not None and len(member) != len(x):
            raise DazooError(f"there are {len(x)} target samples, but target_domain names that of {len(member)}")
        return replace(made, member=member)


def _checked(names: tuple[str, ...], what: str = "targets") -> tuple[str, ...]:
    """Names that can stand in that of a task."""
    odd = [n for n in names if not n or "+" in n or "->" in n]
    if odd or len(set(names)) < len(names):
        raise DazooError(f"{what} need different names without '+' and '->', not {', '.join(map(repr, odd or names))}")
    return names


def _behind_each_other(parts: list[Labels | None], counts: list[int]) -> Labels:
    """The labels of several targets behind each other, missing where a target has none."""
    text = any(p is not None and p.text for p in parts)
    none = [
        Labels(np.full(n, "", dtype=object) if text else np.zeros(n, dtype=np.int64), np.zeros(n, bool)) for n in counts
    ]
    found = [n if p is None else p for p, n in zip(parts, none)]
    values = np.concatenate([p.names if text else p.values for p in found])
    return Labels(values, np.concatenate([p.known for p in found]))


def _axes(x: Any) -> int:
    """The number of axes of an array, or of a list by its first item: waves of unlike length have two."""
    if isinstance(getattr(x, "ndim", None), int):
        return int(x.ndim)
    if isinstance(x, (list, tuple)):
        return 1 + (_axes(x[0]) if len(x) else 0)
    return ndim(x)
