"""Running many runs: in this process, or by an executor whose workers may die without taking anything with them.

What a worker finished is on disk the moment it finished; the first run of its unit that is not on disk is the one it
died at. Runs that another ``dazoo run`` is at (``claims``) come back from the workers and are looked at again at the
end, until they are recorded or free. Which executor does the work changes no record.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from dazoo.bench.execute.base import EXECUTORS, Executor, Outcome, Refusal, Setup, Unit
from dazoo.core.errors import DazooError

if TYPE_CHECKING:
    from dazoo.bench.execute.place import Place
    from dazoo.bench.plan.plan import RunSpec
    from dazoo.bench.plan.protocol import Protocol

USUAL = "processes"
TRIES = 2
PAUSE = 0.5
REST = 20.0
"""How many times as long as a look at the records took nobody looks again."""
Tick = Callable[[int], None]
Tell = Callable[[str], None]
Learn = Callable[["RunSpec", float], None]


def execute(
    specs: Sequence[RunSpec],
    place: Place,
    jobs: int = 1,
    tick: Tick | None = None,
    *,
    since: dict[str, int] | None = None,
    tell: Tell | None = None,
    executor: str = USUAL,
    options: Mapping[str, str] | None = None,
) -> None:
    """Run ``specs`` and append their records; returns when all of them are recorded, here or by another process.

    Args:
        tick: called with the number of runs finished since the last call.
        since: sizes of the shards before the runs were planned (``store.Follower.at``); what was appended since is not
            run again.
        tell: called with a sentence where this process has to wait for others, or has lost a worker for good.
        executor: name of what does the work; ``options`` are its own.

    Raises:
        DazooError: every worker refused, since it lacks something that is here; what is recorded stays.
    """
    from dazoo.bench.records.stores import store_of

    if not specs:
        return
    tick, tell = tick or (lambda n: None), tell or (lambda text: None)
    cls = EXECUTORS.get(executor)
    if cls.here(place, jobs):
        _execute_here(specs, place, tick, since, tell)
        return
    since = since if since is not None else store_of(place.out).follower().at
    setup = Setup(place, jobs, since, dict(options or {}), tell)
    with closing(cls(setup)) as workers:
        driver = _Driver(workers, specs, tick)
        try:
            driver()
        finally:
            driver.claims.close()


def _execute_here(specs: Sequence[RunSpec], place: Place, tick: Tick, since: dict[str, int] | None, tell: Tell) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    from dazoo.bench.execute.runner import Runner
    from dazoo.bench.execute.schedule import units

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    runner = Runner(place, since)
    try:
        with threadpool_limits(1):  # the linear algebra below numpy and scipy has threads of its own
            left = [s for unit in units(specs, 1) for s in runner(unit, lambda spec: tick(1))]
            if left:
                tell(waiting_for(left, place))
            while left:
                time.sleep(PAUSE)
                left = runner(left, lambda spec: tick(1))
    finally:
        runner.close()
        torch.set_num_threads(before)


def waiting_for(specs: Sequence[RunSpec], place: Place) -> str:
    """Who is at the last runs, in a sentence."""
    from dazoo.bench.records.stores import store_of

    claims = store_of(place.out).claims()
    holders = sorted({claims.holder(s.key) for s in specs} - {""})
    who = f" ({', '.join(holders[:3])})" if holders else ""
    runs = "run is" if len(specs) == 1 else "runs are"
    return f"the last {len(specs)} {runs} being done by another dazoo run{who}; waiting for their records"


class _Driver:
    """Hands units to workers until every run has a record."""

    def __init__(self, workers: Executor, specs: Sequence[RunSpec], tick: Tick):
        from dazoo.bench.execute.schedule import Schedule
        from dazoo.bench.plan.costs import Costs
        from dazoo.bench.records.stores import store_of

        self.setup, self.workers, self.specs = workers.setup, workers, specs
        self.schedule = Schedule(Costs.read(self.setup.place.folder), self.setup.place.group, workers.kind)
        # jobs of a queue are handed over all at once, and not divided again
        self.whole = type(workers).pack is not Executor.pack
        self._again = 0.0
        self.waiting: deque[Unit] = deque()
        self.running: list[tuple[Unit, list[RunSpec], float]] = []
        self.left: list[RunSpec] = []
        self.busy = 0
        self.deaths: Counter[str] = Counter()
        self.refusals: list[Refusal] = []
        self.claims = store_of(self.setup.place.out).claims()
        self.watch = _Watch(self.setup.place, {s.key: s for s in specs}, tick, self.setup.since, self.schedule.learn)

    def __call__(self) -> None:
        self.waiting.extend(self._domains())
        while self.waiting or self.busy:  # features that all share are made once, before the runs
            self._turn()
        self.waiting.extend(self._units(self.specs, self.workers.workers))
        told = False
        while self.waiting or self.busy or self.left:
            if self.left and not self.waiting and not self.busy:
                self.waiting.extend(self._units(self._free(), 1))
                if self.left and not told:
                    self.setup.tell(waiting_for(self.left, self.setup.place))
                    told = True
            self._turn()
        self.watch(at_once=True)

    def _free(self) -> list[RunSpec]:
        """Those of the runs left to others that are neither recorded nor claimed by now; the rest stays ``left``."""
        time.sleep(PAUSE)
        self.watch()
        missing = [s for s in self.left if s.key in self.watch.wanted]
        taken = self.claims.taken(s.key for s in missing)
        self.left = [s for s in missing if s.key in taken]
        return [s for s in missing if s.key not in taken]

    def _turn(self) -> None:
        """Submit what may be, and take up what ended."""
        if not self.workers.workers and not self.busy:
            told = "; ".join(dict.fromkeys(f"{r.node}: {r.why}" for r in self.refusals))
            raise DazooError(f"no worker is left ({told}); what is recorded stays, the same command goes on from there")
        self._divide_again()
        ready = [self.waiting.popleft() for _ in range(min(self.workers.free(), len(self.waiting)))]
        # an executor may take more than it has workers for: these have not begun
        ready += self._tails(min(self.workers.free(), self.workers.workers - self.busy) - len(ready))
        if ready:
            self.workers.submit(ready)
            self.running += [(unit, list(unit.runs), time.monotonic()) for unit in ready]
            self.busy += len(ready)
        outcomes = self.workers.wait(0.2)
        self.watch()
        for outcome in outcomes:
            self.busy -= 1
            self.running = [entry for entry in self.running if entry[0] is not outcome.unit]
            self._take(outcome)

    def _divide_again(self) -> None:
        """Divide what waits by what was learned of runs; that takes no more than a part of the time (``REST``)."""
        began = time.monotonic()
        if self.whole or not self.schedule.due or began < self._again:
            return
        plain = [unit for unit in self.waiting if not (unit.domains or unit.trusted)]
        if len(plain) > 1:
            others = [unit for unit in self.waiting if unit.domains or unit.trusted]
            waiting = [s for unit in plain for s in unit.runs]
            self.waiting = deque(others + self._units(waiting, self.workers.workers, self._going()))
        ended = time.monotonic()
        self._again = ended + REST * (ended - began)

    def _going(self) -> Iterator[tuple[RunSpec, float]]:
        """The runs that workers are at, as far as that can be told from here, and since how many seconds."""
        from dazoo.bench.execute.grouping import in_order

        now, ended = time.monotonic(), self.watch.recorded
        for unit, _, began in [] if self.workers.queues else self.running:
            at = next((s for s in in_order(unit.runs) if s.key not in ended), None)
            if at is not None:
                yield at, now - max([began, *(ended[s.key] for s in unit.runs if s.key in ended)])

    def _tails(self, idle: int) -> list[Unit]:
        """When nothing waits: for workers without work, the ends of units that others are at. Claims see to it that no
        run of them is done twice, and those who were at them find them recorded, or leave them."""
        from dazoo.bench.execute.schedule import tail

        found: list[Unit] = []
        whole = self.whole or self.setup.place.group > 1
        while len(found) < idle and not (self.waiting or whole):
            at, part = tail([runs for _, runs, _ in self.running], self.watch.recorded, self.schedule.learned)
            if not part:
                break
            taken = {s.key for s in part}
            unit, runs, began = self.running[at]
            self.running[at] = unit, [s for s in runs if s.key not in taken], began
            found.append(replace(unit, runs=tuple(part)))
        return found

    def _take(self, outcome: Outcome) -> None:
        self.left += outcome.left
        if outcome.died and outcome.unit.runs:
            rest = self._survivors(outcome) if outcome.begun else outcome.unit.runs
            if rest:
                self.waiting.appendleft(replace(outcome.unit, runs=tuple(rest)))
        if outcome.refused is not None:
            self._refused(outcome, outcome.refused)

    def _refused(self, outcome: Outcome, refusal: Refusal) -> None:
        """Another worker may have what this one lacks; what cannot be read here either is for the record."""
        unit = outcome.unit
        if refusal.domain is not None and not self._readable(*refusal.domain):
            unit = replace(unit, trusted=True)
        else:
            self.workers.dismiss(outcome.token)
            if refusal not in self.refusals:
                self.refusals.append(refusal)
                self.setup.tell(f"{refusal.node} takes no part: {refusal.why}")
        self.waiting.appendleft(unit)

    def _readable(self, protocol: Protocol, domain: str) -> bool:
        from dazoo.bench.execute.tasks import Tasks

        try:
            Tasks(self.setup.place.data_root).load(protocol, domain)
            return True
        except (DazooError, OSError):
            return False

    def _units(self, specs: Sequence[RunSpec], jobs: int, going: Iterable[tuple[RunSpec, float]] = ()) -> list[Unit]:
        return self.workers.pack([Unit(tuple(unit)) for unit in self.schedule.units(specs, jobs, going)])

    def _domains(self) -> list[Unit]:
        """Where features are frozen, make each domain's once before the runs, instead of in every worker at once."""
        from dazoo.data.names import split_name, targets_of

        wanted: dict[tuple[str, str], Protocol] = {}
        for spec in self.specs:
            dataset, sources, target = split_name(spec.task)
            for name in (*sources, *targets_of(target)) if spec.protocol.frozen else ():
                wanted.setdefault((dataset, name), spec.protocol)
        pairs, n = [(protocol, name) for (_, name), protocol in wanted.items()], self.workers.workers
        return [Unit(domains=tuple(pairs[i::n])) for i in range(min(n, len(pairs)))]

    def _survivors(self, outcome: Outcome) -> list[RunSpec]:
        """What is left of a dead worker's unit; a run that killed its worker twice is recorded as failed."""
        from dazoo.bench.execute.grouping import in_order
        from dazoo.bench.execute.record import record_death

        self.watch(at_once=True)
        rest = [s for s in in_order(outcome.unit.runs) if s.key not in self.watch.recorded]
        if outcome.token:
            self.claims.bury(outcome.token)
        # the dead hold no claims any more: what is held is being run by somebody else, and did not kill this worker
        suspects = [s for s in rest if not self.claims.alive(s.key)]
        if suspects:
            self.deaths[suspects[0].key] += 1
            if self.deaths[suspects[0].key] >= TRIES:
                record_death(suspects[0], self.setup.place)
                rest.remove(suspects[0])
        return rest


class _Watch:
    """Reports how many of the wanted runs are on disk, by following what is appended; ``recorded``: new keys, and when.
    ``learn`` is told what wanted runs took.

    Where there are many shards a look takes long: it is then taken less often.
    """

    def __init__(
        self, place: Place, wanted: dict[str, RunSpec], tick: Tick, since: dict[str, int], learn: Learn
    ) -> None:
        from dazoo.bench.records.stores import store_of

        self.wanted, self.tick, self.learn = wanted, tick, learn
        self.recorded: dict[str, float] = {}
        self.follower = store_of(place.out).follower(since)
        self._next = 0.0

    def __call__(self, at_once: bool = False) -> None:
        began = time.monotonic()
        if began < self._next and not at_once:
            return
        found = dict(self.follower.new_runs())
        self.recorded |= dict.fromkeys(found, began)
        fresh = [(spec, seconds) for key, seconds in found.items() if (spec := self.wanted.pop(key, None)) is not None]
        for spec, seconds in fresh:
            if seconds is not None:
                self.learn(spec, seconds)
        if fresh:
            self.tick(len(fresh))
        ended = time.monotonic()
        self._next = ended + REST * (ended - began)
