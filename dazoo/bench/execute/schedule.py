"""How runs are shared out: units that one worker does without interruption, the longest first.

Runs of one task share its data and what is computed of them, and runs of one group train as one batched model, so units
as balance allows. The limit of a unit is a share of what every worker has to do; what exceeds it is divided first where
nothing is shared (other samples seen), then by rows of the table, seeds and trials. A batched group costs less than its
members alone, so it is divided only where it would hold up the whole table, into as few as that takes.

A run is indivisible, so one that may be long has to begin early and may not stand behind others. Units are therefore
weighed by what they may take (``Splitting.weight``), not by what is expected. Where nothing is known of a row on some
data, its first run tells of the others: it is a unit of its own and comes early. What waits is divided again as records
tell what runs take (``Schedule``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from typing import Any

from dazoo.bench.execute.grouping import grouped, in_order, trains_in_groups
from dazoo.bench.plan.costs import Costs
from dazoo.bench.plan.learned import NEAR, Learned
from dazoo.bench.plan.plan import RunSpec

SHARE = 1 / 16
"""Of a worker's part of all work, what a unit may take: its last one leaves the others idle at most so long."""
WORTH = 8.0
"""How many times the opening of its data a unit should take, where there is enough to do for everybody."""
FIRST, MORE = 8, 1.25
"""Runs from which is learned at first, and how many times as many there are when it is done again."""
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
    """``specs`` as units for ``jobs`` workers that take one after the other, those that may take longest first.

    For one worker these are whole tasks in the order of the plan.

    Args:
        costs: what runs are expected to take; without, what their recipe and data tell.
        group: runs of one method that train as one batched model, at most (``Place.group``).
    """
    return Schedule(costs, group).units(specs, jobs)


class Schedule:
    """Units that are made again of what waits, as more is known of what runs take.

    Args:
        costs, group: as of ``units``.
        kind: runs of different kinds are never in one unit.
    """

    def __init__(
        self,
        costs: Costs | None = None,
        group: int = 1,
        kind: Callable[[RunSpec], Hashable] = lambda spec: None,
    ):
        self.learned, self.group, self.kind = Learned(costs or Costs()), group, kind
        self._next = FIRST

    def learn(self, spec: RunSpec, seconds: float) -> None:
        """A run ended after so many seconds."""
        self.learned.learn(spec, seconds)

    @property
    def due(self) -> bool:
        """Whether so much was learned that what waits should be divided again."""
        return len(self.learned.seen) >= self._next

    def units(self, specs: Iterable[RunSpec], jobs: int, going: Iterable[tuple[RunSpec, float]] = ()) -> list[Part]:
        """``specs`` as units, as the function ``units`` makes them, by what was learned; ``going`` as of ``fit``."""
        if self.learned.seen:
            self.learned.fit(going)
            self._next = max(FIRST, int(MORE * len(self.learned.seen)) + 1)
        kinds = _parted(list(specs), self.kind)
        if jobs <= 1:
            return [task for part in kinds for task in _parted(part, LEVELS[0])]
        weighed = [unit for part in kinds for unit in self._divided(part, jobs)]
        return [unit for _, unit in sorted(weighed, key=lambda found: found[0], reverse=True)]

    def _divided(self, specs: Part, jobs: int) -> Iterator[tuple[float, Part]]:
        """The units of one kind, with their weights."""
        tasks, made = _parted(specs, LEVELS[0]), Splitting(self.learned, jobs, self.group)
        made.first = {id(spec) for spec in {self.learned.cell(s): s for s in reversed(specs)}.values()}
        made.part = sum(made.seconds(unit) for unit in tasks) / jobs
        made.limit = limit_of(made.part, self.learned.opening)
        for unit in tasks:
            for part in made.split(unit):
                yield made.weight(part), part


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
    """Divides what may take longer than ``limit`` seconds.

    Attributes:
        part: what every worker has to do.
        first: runs (by ``id``) that tell of others, of which then no more than ``NEAR`` is doubted; None for all.
    """

    def __init__(self, costs: Costs | Learned, jobs: int, group: int = 1):
        self.costs, self.jobs, self.group = costs, jobs, group
        self.part = self.limit = float("inf")
        self.first: set[int] | None = None
        self._known: dict[int, tuple[float, float]] = {}

    def seconds(self, unit: Sequence[RunSpec]) -> float:
        """Expected seconds of a unit, the opening of its data included."""
        return self._sizes(unit)[0]

    def weight(self, unit: Sequence[RunSpec]) -> float:
        """What a unit may take: the expected seconds, and those that one of its runs may take beyond."""
        return sum(self._sizes(unit))

    def _sizes(self, unit: Sequence[RunSpec]) -> tuple[float, float]:
        """Expected seconds of a unit, and those that one of its runs may take beyond."""
        found = [self._one(spec) for spec in unit]
        spent = self.costs.opening * len({s.data_key for s in unit})
        if self.group <= 1:
            spent += sum(one for one, _ in found)
        else:
            spent += sum(self._together(g) for g in grouped(in_order(unit), self.group))
        return spent, max((beyond for _, beyond in found), default=0.0)

    def _one(self, spec: RunSpec) -> tuple[float, float]:
        """Expected seconds of a run, and those that it may take beyond, computed once."""
        found = self._known.get(id(spec))
        if found is None:
            seconds, doubt = self.costs(spec), self.costs.doubt(spec)
            if self.first is not None and id(spec) not in self.first:
                doubt = min(doubt, NEAR)
            found = self._known[id(spec)] = seconds, seconds * (doubt - 1)
        return found

    def _together(self, group: Sequence[RunSpec]) -> float:
        seconds = [self._one(spec)[0] for spec in group]
        if not trains_in_groups(group[0]):
            return sum(seconds)
        return max(seconds) * self.costs.together(len(group), self.group)

    def split(self, unit: Part) -> list[Part]:
        """``unit`` in parts that may take at most ``limit`` seconds, or of one run or group."""
        if len(unit) == 1 or self._fits(*self._sizes(unit)):
            return [unit]
        if self.group > 1 and len({(s.task, s.label) for s in unit}) == 1:
            return [part for one in grouped(in_order(unit), self.group) for part in self._halved(one)]
        parts = next(p for level in LEVELS if len(p := _parted(unit, level)) > 1)
        return self._packed(parts)

    def _fits(self, seconds: float, beyond: float) -> bool:
        """Whether so much may be one unit; small doubts do not divide what is not worth the opening of its data."""
        if beyond <= (NEAR - 1) * seconds and seconds <= min(self.limit, WORTH * self.costs.opening):
            return True
        return seconds + beyond <= self.limit

    def _packed(self, parts: list[Part]) -> list[Part]:
        """Parts, with small ones put together up to the limit and large ones divided further."""
        found: list[Part] = []
        open_unit: Part = []
        spent = most = 0.0
        for part in parts:
            more, beyond = self._sizes(part)
            if not self._fits(more, beyond):
                found += self.split(part)
                continue
            if open_unit and not self._fits(spent + more, max(most, beyond)):
                found.append(open_unit)
                open_unit, spent, most = [], 0.0, 0.0
            open_unit, spent, most = [*open_unit, *part], spent + more, max(most, beyond)
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
