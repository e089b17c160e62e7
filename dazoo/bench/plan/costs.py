"""How long runs take, expected from earlier records: what a fair division of work goes by. It changes no result.

A run of a known row (label) and task takes what such runs took on average. Elsewhere seconds are a product: log seconds
of row and task are the sum of a term per row and one per task, each the mean of what the records leave over. What no
record tells of is estimated from the recipe and the size of the data, which is right within a factor of about ten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.records.cache import BATCH, Lines
from dazoo.bench.records.lines import RECORDS, Damage, parsed
from dazoo.bench.records.parts import all_parts, part_paths, read_part
from dazoo.bench.records.table import Table
from dazoo.core.errors import DazooError
from dazoo.data.names import split_name, targets_of
from dazoo.data.registry import DATASETS

COLUMNS = ("number:seconds", "number:cpu_seconds", "spec:label", "spec:task")
LEAST = 1e-3
"""Seconds below which runs do not differ."""
OPENING = 0.05
"""Seconds that the data of a task take until its first run can begin."""
STEP, PIXELS = 4e-3, 50.0
"""Seconds of a training step on vectors, and how many times as long one through an image backbone takes."""
SOLVE, SAMPLES = 0.5, 2000
"""Seconds of a shallow method on so many samples; with n samples (n / SAMPLES)^2 times as long."""
ALONE = 10.0
"""What a run alone costs over its share of a full group that trains as one batched model (``grouping``)."""
SURE, UNSURE, ELSEWHERE = 2.0, 10.0, 30.0
"""How many times as long as expected 97 of 100 runs take at most: where others of the row and task are recorded in the
same folder, where nothing is recorded of the row, and where its records are of other suites, whose data differ."""
NEIGHBOURS, PARTS = 8, 16
"""Result folders beside one without records that are asked, and parts of each."""


@dataclass(frozen=True)
class Costs:
    """Expected seconds of runs.

    Attributes:
        known: mean seconds by (label, task). rows, tasks: terms of log seconds by label and by task.
        opening: seconds until the data of a unit are there. alone: see ``ALONE``.
        own: whether ``known`` is of the very suite, and not of others that may do something else under the same names.
    """

    known: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rows: Mapping[str, float] = field(default_factory=dict)
    tasks: Mapping[str, float] = field(default_factory=dict)
    opening: float = OPENING
    alone: float = ALONE
    own: bool = True

    @staticmethod
    def of(
        observed: Iterable[tuple[str, str, float]], opening: float = OPENING, alone: float = ALONE, own: bool = True
    ) -> Costs:
        """From (label, task, seconds) of earlier runs."""
        cells: dict[tuple[str, str], list[float]] = {}
        for label, task, seconds in observed:
            if seconds is not None and math.isfinite(seconds):
                cells.setdefault((label, task), []).append(max(seconds, LEAST))
        known = {cell: sum(found) / len(found) for cell, found in cells.items()}
        rows = _means((label, math.log(s)) for (label, _), s in known.items())
        tasks = _means((task, math.log(s) - rows[label]) for (label, task), s in known.items())
        rows = _means((label, math.log(s) - tasks[task]) for (label, task), s in known.items())
        return Costs(known, rows, tasks, opening, alone, own)

    @staticmethod
    def read(folder: str | Path) -> Costs:
        """From the records of a result folder; from those of its neighbours where it has none."""
        folder = Path(folder)
        found = list(_observed(folder))
        return Costs.of(found or list(_beside(folder)), own=bool(found))

    def __call__(self, spec: RunSpec) -> float:
        """Expected seconds of one run, its share where it trains in a full group."""
        seconds = self.known.get((spec.label, spec.task))
        if seconds is not None:
            return seconds
        row = self.rows.get(spec.label)
        return prior(spec) if row is None else math.exp(row + self.tasks.get(spec.task, 0.0))

    def doubt(self, spec: RunSpec) -> float:
        """How many times as long as expected a run may take: what may be long has to begin early."""
        if self.own and (spec.label, spec.task) in self.known:
            return SURE
        return ELSEWHERE if spec.label in self.rows else UNSURE

    def together(self, n: int, size: int) -> float:
        """Seconds of a batched group of ``n`` runs over what one run's share of a full group of ``size`` takes.

        a + b n with a + b = ``alone`` and a + b size = size.
        """
        if n <= 1 or size <= 1:
            return self.alone if size > 1 else 1.0
        alone = min(self.alone, size)
        each = (size - alone) / (size - 1)
        return alone + each * (n - 1)


def prior(spec: RunSpec) -> float:
    """Expected seconds of a run where nothing is recorded, from its recipe or the size of its data."""
    recipe = spec.protocol.recipe
    if recipe is not None:
        deep = spec.protocol.backbone != "none" and not spec.protocol.frozen
        return float(recipe["steps"]) * STEP * (PIXELS if deep else 1.0)
    return SOLVE * (samples(spec) / SAMPLES) ** 2


def samples(spec: RunSpec) -> float:
    """Samples of a run's domains where the dataset tells them, else ``SAMPLES``."""
    _, sources, target = split_name(spec.task)
    try:
        counts = DATASETS.get(spec.protocol.dataset).counts
    except DazooError:
        return SAMPLES
    found = [counts.get(name) for name in (*sources, *targets_of(target))]
    return float(sum(n for n in found if n)) or SAMPLES


def _means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def _observed(folder: Path) -> Iterator[tuple[str, str, float]]:
    """What a folder's cache, its parts and the beginning of its other lines tell."""
    lines, damage = Lines(folder, Damage()), Damage()
    for table in lines.held(COLUMNS):
        yield from _rows(Table(table))
    read = 0
    for piece in lines.rest():
        for _, _, line in piece.lines(damage):
            record = parsed(line)
            yield from _row(record.get("spec"), record.get)
        if (read := read + len(piece.text)) > BATCH:
            break
    for table in all_parts(folder / RECORDS, damage.of_part, COLUMNS):
        yield from _rows(Table(table))


def _beside(folder: Path) -> Iterator[tuple[str, str, float]]:
    """What the parts of the newest folders beside it tell."""
    with suppress(OSError):
        others = [p for p in folder.parent.iterdir() if p != folder and (p / RECORDS).is_dir()]
        others.sort(key=lambda p: -(p / RECORDS).stat().st_mtime_ns)
        for other in others[:NEIGHBOURS]:
            for path in part_paths(other / RECORDS)[:PARTS]:
                with suppress(OSError, ValueError):
                    yield from _rows(Table(read_part(path, COLUMNS)))


def _rows(table: Table) -> Iterator[tuple[str, str, float]]:
    if {"spec:label", "spec:task"} <= set(table.names):
        seconds = [table.values(name) for name in reversed(COLUMNS[:2]) if name in table.names]
        for label, task, *spent in zip(table.values("spec:label"), table.values("spec:task"), *seconds):
            found = next((s for s in spent if isinstance(s, (int, float))), None)
            if found is not None and isinstance(label, str) and isinstance(task, str):
                yield label, task, found


def _row(spec: Any, get: Callable[[str], Any]) -> Iterator[tuple[str, str, float]]:
    seconds = next((s for s in (get("cpu_seconds"), get("seconds")) if isinstance(s, (int, float))), None)
    if seconds is not None and isinstance(spec, dict) and {"label", "task"} <= set(spec):
        yield str(spec["label"]), str(spec["task"]), seconds
