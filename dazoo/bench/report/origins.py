"""What else the records say about each run: settings, hyper-parameters, machine, warnings.

What many runs share is held once and referred to by position, so that ten thousand runs stay small in memory and on
the page.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dazoo.bench.analysis.runs import Run
from dazoo.bench.records.table import Row

SETUP = ("dataset", "options", "transform", "backbone", "frozen", "image_size", "represent", "encoder", "classifier")
PLACE = ("device", "machine", "versions")
SPLITS = ("few_labels", "source_holdout", "target_holdout", "curve")


class Pool:
    """Values that are held once, found again by their JSON."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}
        self._known: dict[tuple[int, ...], tuple[Any, int]] = {}

    def put(self, value: Any) -> int:
        """The position of ``value``."""
        text = json.dumps(value, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values.append(value)
        return self._places[text]

    def put_shared(self, parts: tuple[Any, ...], make: Callable[[], Any]) -> int:
        """The position of what ``make`` makes of ``parts``, made once for the very same objects."""
        mark = tuple(map(id, parts))
        if mark not in self._known:
            self._known[mark] = parts, self.put(make())  # holding the parts keeps their ids theirs
        return self._known[mark][1]


@dataclass(frozen=True, slots=True)
class Origin:
    """Facts about one run; ``setup`` to ``notes`` and ``steps`` are positions in the pools of ``Origins``.

    ``load`` is that of the machine at the run's start: processes that could run, jobs of the suite, processors.
    """

    started: str
    setup: int
    hparams: int
    place: int
    notes: int
    steps: int
    memory: float | None
    curved: bool
    load: tuple[float | None, int, int] | None = None


@dataclass
class Origins:
    """Collected while the records are read, one entry per run key, the newest record's."""

    runs: dict[str, Origin] = field(default_factory=dict)
    setups: Pool = field(default_factory=Pool)
    hparams: Pool = field(default_factory=Pool)
    places: Pool = field(default_factory=Pool)
    notes: Pool = field(default_factory=Pool)
    steps: Pool = field(default_factory=Pool)
    _setups: dict[str, int] = field(default_factory=dict)
    _steps: dict[tuple[int | None, ...], int] = field(default_factory=dict)

    def note(self, record: Row) -> None:
        """Remember a record; anything that an old one lacks is left out."""
        spec, key = record["spec"], record["key"]
        place = tuple(record.get(k) for k in PLACE)
        variant = f"{record['variant']} {spec['method']} {spec['setting']}"
        if variant not in self._setups:
            self._setups[variant] = self.setups.put(_setup(spec))
        self.runs[key] = Origin(
            record["started"],
            self._setups[variant],
            self.hparams.put_shared((spec.get("hparams"),), lambda: spec.get("hparams") or {}),
            self.places.put_shared(place, lambda: {k: v for k, v in zip(PLACE, place) if v}),
            self.notes.put_shared((record.get("warnings"),), lambda: record.get("warnings") or []),
            self._step(tuple(record.along("step"))),
            record.get("peak_memory_mb"),
            record.curved,
            _load(record.get("load")),
        )

    def _step(self, steps: tuple[int | None, ...]) -> int:
        if steps not in self._steps:
            self._steps[steps] = self.steps.put(list(steps))
        return self._steps[steps]

    def versions(self) -> Counter[str]:
        """How many runs each version of dazoo made; empty for records that do not tell."""
        found: Counter[str] = Counter()
        for run in self.runs.values():
            version = (self.places.values[run.place].get("versions") or {}).get("dazoo")
            found.update([version] if version else [])
        return found

    def load(self) -> str:
        """How busy the machine was when runs began, as a sentence with a space before it; empty where none tells."""
        known = [o.load for o in self.runs.values() if o.load is not None and o.load[0] is not None]
        if not known:
            return ""
        busy = [x[0] for x in known if x[0] is not None]
        jobs, cpus = sorted({x[1] for x in known}), sorted({x[2] for x in known})
        return (
            f" Load when they began: {min(busy):.1f} to {max(busy):.1f} processes, {_range(jobs)} of them ours, "
            f"on {_range(cpus)} processors."
        )

    def memory(self, runs: list[Run]) -> float:
        """The largest peak memory of some runs in MB, NaN where no record tells."""
        known = [o.memory for r in runs if (o := self.runs.get(r.key)) is not None and o.memory is not None]
        return max(known, default=math.nan)


def _range(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _load(found: Any) -> tuple[float | None, int, int] | None:
    return None if not found else (found["average"], found["jobs"], found["cpus"])


def _setup(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What all runs of a variant share, without what is empty."""
    protocol = spec.get("protocol") or {}
    recipe = dict(protocol.get("recipe") or {})
    found: dict[str, Any] = {"setting": spec.get("setting"), "method": spec.get("method"), "code": spec.get("code")}
    found |= {k: protocol.get(k) for k in SETUP}
    if recipe:
        found |= {"recipe": recipe.pop("name", None), "recipe_hash": recipe.pop("hash", None), "training": recipe}
    found["splits"] = {k: protocol[k] for k in SPLITS if protocol.get(k)}
    return {k: v for k, v in found.items() if v not in (None, "none", [], {}, False)}
