"""Which classes source and target have: partial, open-set and universal tasks out of any labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from dazoo.core.errors import DazooError, nearest
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain

KINDS = ("shared", "source", "target")
TEN_CLASSES = {"partial": (5, 5, 0), "open": (5, 0, 5), "universal": (4, 3, 3)}
"""Splits for datasets of ten classes."""


@dataclass(frozen=True)
class LabelSets:
    """Classes of both domains, of the source alone and of the target alone: names, or how many.

    Counts are taken from the classes in the dataset's order: the first ``shared``, the next ``source``, then
    ``target``, which is the convention of the field where that order is alphabetical.
    """

    shared: int | tuple[str, ...]
    source: int | tuple[str, ...] = 0
    target: int | tuple[str, ...] = 0

    @staticmethod
    def of(value: Any, presets: Mapping[str, Sequence[int]]) -> LabelSets:
        """What an option ``classes`` means: ``{shared: 10, source: 10, target: 11}``, or a preset's name.

        Raises:
            DazooError: it is neither.
        """
        if isinstance(value, LabelSets):
            return value
        if isinstance(value, str):
            if value not in presets:
                known = nearest(value, presets) if presets else "this dataset has no splits of its own"
                raise DazooError(f"unknown split of classes {value!r}: {known}; or give {{shared: 5, source: 5}}")
            return LabelSets(*presets[value])
        if not isinstance(value, Mapping) or "shared" not in value or set(value) - set(KINDS):
            raise DazooError(f"classes are {{shared: 5, source: 5, target: 0}}, counts or names, not {value!r}")
        return LabelSets(**{k: _checked(k, v) for k, v in value.items()})

    @property
    def labels(self) -> str:
        """The answer ``labels`` of the setting that such classes make."""
        if self.target:
            return "universal" if self.source else "open"
        return "partial" if self.source else "closed"

    def to_json(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k in KINDS if (v := getattr(self, k))}

    def names(self, classes: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Names of the shared, the source's and the target's classes, each in the order of ``classes``.

        Raises:
            DazooError: there are not so many classes, or no such, or one stands in two sets.
        """
        counted = sum(v for k in KINDS if isinstance(v := getattr(self, k), int))
        named = [n for k in KINDS if not isinstance(v := getattr(self, k), int) for n in v]
        for name in named:
            if name not in classes:
                raise DazooError(f"there is no class {name!r} to split by: {nearest(name, classes)}")
        if len(set(named)) < len(named):
            twice = sorted({n for n in named if named.count(n) > 1})
            raise DazooError(f"the class {twice[0]!r} stands twice among shared, source and target classes")
        rest = [c for c in classes if c not in named]
        if counted > len(rest):
            raise DazooError(f"{counted} classes are asked for by number, but there are {len(rest)}: {list(rest)[:12]}")
        found = []
        for kind in KINDS:
            value = getattr(self, kind)
            taken = rest[:value] if isinstance(value, int) else value
            rest = rest[value:] if isinstance(value, int) else rest
            found.append(tuple(sorted(taken, key=list(classes).index)))
        if not found[0]:
            raise DazooError("source and target share no class; give at least one shared class")
        return found[0], found[1], found[2]

    def source_part(self, domain: Domain) -> Domain:
        """A labelled domain as source: its samples of shared and source classes."""
        shared, source, _ = self.names(domain.classes)
        mine = tuple(c for c in domain.classes if c in (*shared, *source))
        return of_classes(domain, mine, mine)

    def target_part(self, domain: Domain) -> Domain:
        """A labelled domain as target: its samples of shared and target classes; classes of the source come first."""
        shared, source, target = self.names(domain.classes)
        known = tuple(c for c in domain.classes if c in (*shared, *source))
        return of_classes(domain, (*shared, *target), (*known, *target))


def taken(options: dict[str, Any], known: Mapping[str, Any], presets: Mapping[str, Sequence[int]]) -> LabelSets | None:
    """Take the split of classes out of the options of a dataset; None where they hold none.

    A dataset may have an option ``classes`` of its own (``known`` are its options), which is a word.
    """
    value = options.get("classes")
    if value is None or ("classes" in known and isinstance(value, str)):
        return None
    del options["classes"]
    return LabelSets.of(value, presets)


def of_classes(domain: Domain, keep: Sequence[str], classes: tuple[str, ...]) -> Domain:
    """The samples of the classes ``keep``, with labels as indices into ``classes``.

    Raises:
        DazooError: the domain has values for labels, or samples without.
    """
    if domain.y is None or domain.regression or domain.known is not None:
        raise DazooError(
            f"domain {domain.name!r} cannot be split by classes, since not every sample has a class label; leave the "
            "option classes out: what the target holds beyond the source's classes is found where it has labels"
        )
    kept = torch.tensor([domain.classes.index(c) for c in keep], dtype=torch.int64)
    rows = torch.nonzero(torch.isin(domain.y, kept))[:, 0]
    if not len(rows):
        raise DazooError(f"domain {domain.name!r} has no sample of the classes {list(keep)[:5]}; choose others")
    few = None
    if domain.few is not None:
        chosen = torch.nonzero(torch.isin(rows, domain.few))[:, 0]
        few = chosen if len(chosen) else None
    test = None if domain.test is None else of_classes(domain.test, keep, classes)
    code = torch.full((len(domain.classes),), -1, dtype=torch.int64)
    for c in keep:
        code[domain.classes.index(c)] = classes.index(c)
    every = len(rows) == len(domain)
    return replace(
        domain,
        x=domain.x if every else domain.x[rows],
        y=code[domain.y[rows]],
        classes=classes,
        test=test,
        few=few,
        member=None if domain.member is None else domain.member[rows],
    )


def setting_with(setting: Setting, sets: LabelSets | None) -> Setting:
    """``setting`` with the label sets that ``sets`` makes, where it says nothing of them itself."""
    if sets is None or sets.labels in ("closed", setting.labels):
        return setting
    if setting.labels != "closed":
        raise DazooError(
            f"the option classes makes {sets.labels} label sets, but the setting {setting.name!r} means "
            f"{setting.labels} ones; say one of them, or make them agree"
        )
    return setting.change(labels=sets.labels)


def _checked(kind: str, value: Any) -> int | tuple[str, ...]:
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)) or (isinstance(value, int) and value < 0):
        raise DazooError(f"classes.{kind} is a number or a list of class names, not {value!r}")
    return value if isinstance(value, int) else tuple(str(v) for v in value)
