"""How runs are shared out: units that one worker does without interruption, the longest expected ones first.

Runs of one task share its data and what is computed of them, and runs of one group train as one batched model, so units
as balance allows. The limit of a unit is a share of what every worker has to do; what exceeds it is divided first where
nothing is shared (other samples seen), then by rows of the table, seeds and trials. A batched group costs less than its
members alone, so it is divided only where it would hold up the whole table, into as few as that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from dazoo.bench.execute.grouping import grouped, in_order, trains_in_groups
from dazoo.bench.plan.costs import Costs
from dazoo.bench.plan.plan import RunSpec

SHARE = 1 / 16
"""Of a worker's part of all work, what a unit may take: its last one leaves the others idle at most so long."""
WORTH = 4.0
"""How many times the opening of its data a unit should take, where there is enough to do for everybody."""
FASTER = 0.9
"""What half of a group must take at most over the whole, for it to be divided."""
Part = list[RunSpec]
"""Runs that one worker does without interruption, once they are handed out as a unit."""
LEVELS: tuple[Callable[[RunSpec], Any], ...] = (
    lambda s: s.task,
    lambda s: s.data_key,
    lambda s: s.label,
    lambda s: s.seed,
    id,
)
"""What parts of a unit have in common, by how much is lost when they are separated."""


def units(specs: Iterable[RunSpec], jobs: int, costs: Costs | None = None, group: int = 1) -> list[Part]:
    """``specs`` as units for ``jobs`` workers that take one after the other, the longest expected first.

    For one worker these are whole tasks in the order of the plan.

    Args:
        costs: what runs are expected to take; without, what their recipe and data tell.
        group: runs of one method that train as one batched model, at most (``Place.group``).
    """
    listed = list(specs)
    tasks = _parted(listed, LEVELS[0])
    if jobs <= 1:
        return tasks
    made = Splitting(costs or Costs(), jobs, group)
    made.part = sum(made.seconds(unit) for unit in tasks) / jobs
    made.limit = limit_of(made.part, made.costs.opening)
    found = [part for unit in tasks for part in made.split(unit)]
    return sorted(found, key=made.seconds, reverse=True)


def limit_of(part: float, opening: float) -> float:
    """Seconds of the largest unit: ``SHARE`` of a worker's ``part`` of all work; more where opening the data would take
    too much of it, but never more than that part."""
    return min(part, max(SHARE * part, WORTH * opening))


def tail(running: Sequence[Part], recorded: Container[str], costs: Callable[[RunSpec], float]) -> tuple[int, Part]:
    """Of the units that workers are at, the one with most left to do behind its current run: its number, and the
    second half of that; nothing where nobody has two runs before him."""
    at, most, best = -1, 0.0, Part()
    for i, unit in enumerate(running):
        rest = [s for s in in_order(unit) if s.key not in recorded][1:]
        seconds = sum(map(costs, rest))
        if rest and seconds > most:
            at, most, best = i, seconds, rest
    return at, best[len(best) // 2 :]


class Splitting:
    """Divides what takes longer than ``limit`` seconds; ``part`` is what every worker has to do."""

    def __init__(self, costs: Costs, jobs: int, group: int = 1):
        self.costs, self.jobs, self.group = costs, jobs, group
        self.part = self.limit = float("inf")
        self._known: dict[int, float] = {}

    def seconds(self, unit: Sequence[RunSpec]) -> float:
        """Expected seconds of a unit, the opening of its data included."""
        opening = self.costs.opening * len({s.data_key for s in unit})
        if self.group <= 1:
            return opening + sum(map(self._one, unit))
        return opening + sum(self._together(g) for g in grouped(in_order(unit), self.group))

    def _one(self, spec: RunSpec) -> float:
        """Expected seconds of a run, computed once."""
        if id(spec) not in self._known:
            self._known[id(spec)] = self.costs(spec)
        return self._known[id(spec)]

    def _together(self, group: Sequence[RunSpec]) -> float:
        if not trains_in_groups(group[0]):
            return sum(map(self._one, group))
        return max(map(self._one, group)) * self.costs.together(len(group), self.group)

    def split(self, unit: Part) -> list[Part]:
        """``unit`` in parts of at most ``limit`` seconds, or of one run or group."""
        if len(unit) == 1 or self.seconds(unit) <= self.limit:
            return [unit]
        if self.group > 1 and len({(s.task, s.label) for s in unit}) == 1:
            return [part for one in grouped(in_order(unit), self.group) for part in self._halved(one)]
        parts = next(p for level in LEVELS if len(p := _parted(unit, level)) > 1)
        return self._packed(parts)

    def _packed(self, parts: list[Part]) -> list[Part]:
        """Parts, with small ones put together up to the limit and large ones divided further."""
        found: list[Part] = []
        open_unit: Part = []
        spent = 0.0
        for part in parts:
            more = self.seconds(part)
            if more > self.limit:
                found += self.split(part)
                continue
            if open_unit and spent + more > self.limit:
                found.append(open_unit)
                open_unit, spent = [], 0.0
            open_unit, spent = [*open_unit, *part], spent + more
        return [*found, open_unit] if open_unit else found

    def _halved(self, group: Part) -> list[Part]:
        """A group that trains together, divided where it alone takes longer than a worker's part of all work, as long
        as that makes it faster."""
        half, whole = len(group) // 2, self.seconds(group)
        if len(group) == 1 or whole <= self.part or self.seconds(group[half:]) > FASTER * whole:
            return [group]
        return [*self._halved(group[:half]), *self._halved(group[half:])]


def _parted(specs: Sequence[RunSpec], level: Callable[[RunSpec], Any]) -> list[Part]:
    found: dict[Any, Part] = {}
    for spec in specs:
        found.setdefault(level(spec), []).append(spec)
    return list(found.values())
