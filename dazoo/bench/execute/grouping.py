"""Which runs follow each other and share memos, and which train together as one batched model.

That changes no key: each run of a group has a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from dazoo.bench.plan.plan import RunSpec
from dazoo.core import hparam
from dazoo.core.memo import Domains, Memo
from dazoo.methods.base import METHODS, GradientMethod


class Memos:
    """The memo of each data that the runs at hand see; what belongs to a domain outlives the pair it was needed for."""

    def __init__(self, domains: Domains) -> None:
        self._task: str | None = None
        self._kept: dict[Any, Memo] = {}
        self._domains = domains

    def leave(self, task: str | None) -> None:
        """Forget everything that is not of ``task``; with None, everything."""
        if task is None or task != self._task:
            self._task, self._kept = task, {}

    def __call__(self, spec: RunSpec) -> Memo:
        return self._kept.setdefault(spec.data_key, Memo(self._domains))


def in_order(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """The order in which runs are executed: those on the same data together."""
    return sorted(specs, key=lambda s: tuple("" if k is None else str(k) for k in s.data_key))


def grouped(specs: Iterable[RunSpec], size: int) -> list[list[RunSpec]]:
    """``specs`` in groups of at most ``size`` that may train together, in the order of their first members."""
    found: list[list[RunSpec]] = []
    open_groups: dict[Any, list[RunSpec]] = {}
    for spec in specs:
        key = _kind(spec) if size > 1 else None
        group = open_groups.get(key) if key is not None else None
        if group is None or len(group) == size:
            group = []
            found.append(group)
            if key is not None:
                open_groups[key] = group
        group.append(spec)
    return found


def trains_in_groups(spec: RunSpec) -> bool:
    """Whether a run may be one of a batched model."""
    return _kind(spec) is not None


def _kind(spec: RunSpec) -> Any:
    """What runs of one group have in common; None for a run that trains alone."""
    if spec.protocol.recipe is None or spec.method not in METHODS:
        return None
    cls = METHODS.get(spec.method)
    if not issubclass(cls, GradientMethod) or not cls.stackable or spec.protocol.represent is not None:
        return None
    if cls.after_step is not GradientMethod.after_step or cls.resting is not GradientMethod.resting:
        return None
    free = {name for name, meta in hparam.space(cls).items() if not meta.structural}
    fixed = {k: repr(v) for k, v in spec.hparams.items() if k not in free or not isinstance(v, float)}
    method = cast(GradientMethod, hparam.configure(cls, spec.hparams))
    still = (str(method.part_lr()), method.idle)
    return (spec.task, spec.protocol.hash, spec.label, spec.setting, spec.code, str(fixed), *still)
