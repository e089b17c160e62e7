"""Running many runs: in this process, or in worker processes that may die without taking anything with them.

Every worker is a pool of one process, so the death of one leaves the others alone. What a worker finished is on disk
the moment it finished; the first run of its unit that is not on disk is the one it died at. Runs that another
``dazoo run`` is at (``claims``) come back from the workers and are looked at again at the end, until they are recorded
or free.
"""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a spawned worker imports this module before it may import numpy or torch
    from dazoo.bench.execute.place import Place
    from dazoo.bench.plan.plan import RunSpec
    from dazoo.bench.plan.protocol import Protocol

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TRIES = 2
PAUSE = 0.5
Tick = Callable[[int], None]
Tell = Callable[[str], None]


def execute(
    specs: Sequence[RunSpec],
    place: Place,
    jobs: int = 1,
    tick: Tick | None = None,
    *,
    since: dict[str, int] | None = None,
    tell: Tell | None = None,
) -> None:
    """Run ``specs`` and append their records; returns when all of them are recorded, here or by another process.

    Args:
        tick: called with the number of runs finished since the last call.
        since: sizes of the shards before the runs were planned (``store.Follower.at``); what was appended since is not
            run again.
        tell: called once, with a sentence, where this process has to wait for others.
    """
    if not specs:
        return
    if jobs <= 1:
        _execute_here(specs, place, tick or (lambda n: None), since, tell or (lambda text: None))
    else:
        _execute_in_workers(specs, place, jobs, tick or (lambda n: None), since, tell or (lambda text: None))


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
    from dazoo.bench.records.claims import Claims

    claims = Claims(place.out)
    holders = sorted({claims.holder(s.key) for s in specs} - {""})
    who = f" ({', '.join(holders[:3])})" if holders else ""
    runs = "run is" if len(specs) == 1 else "runs are"
    return f"the last {len(specs)} {runs} being done by another dazoo run{who}; waiting for their records"


def _execute_in_workers(
    specs: Sequence[RunSpec], place: Place, jobs: int, tick: Tick, since: dict[str, int] | None, tell: Tell
) -> None:
    from dazoo.bench.execute.schedule import units
    from dazoo.bench.plan.costs import Costs
    from dazoo.bench.records.store import Follower

    waiting = deque(units(specs, jobs, Costs.read(place.out), place.group))
    since = since if since is not None else Follower(place.out).at
    jobs = min(jobs, len(waiting))
    deaths: Counter[str] = Counter()
    watch = _Watch(place, {s.key for s in specs}, tick, since)
    pools: dict[int, _Worker] = {}
    busy: dict[concurrent.futures.Future[list[RunSpec]], tuple[int, list[RunSpec]]] = {}
    left: list[RunSpec] = []
    told = False
    try:
        _share_features(specs, place, pools, jobs, since)
        while waiting or busy or left:
            if left and not waiting and not busy:
                if not told:
                    tell(waiting_for(left, place))
                told = True
                time.sleep(PAUSE)
                waiting.extend(units(left, 1))
                left = []
            for slot in set(range(jobs)) - {s for s, _ in busy.values()}:
                if waiting:
                    unit = waiting.popleft()
                    worker = pools.get(slot) or pools.setdefault(slot, _Worker(place, since))
                    busy[worker.pool.submit(_work, unit)] = (slot, unit)
            done, _ = concurrent.futures.wait(busy, 0.2, concurrent.futures.FIRST_COMPLETED)
            watch()
            for future in done:
                slot, unit = busy.pop(future)
                try:
                    left += future.result()
                except BrokenProcessPool:
                    pools.pop(slot).stop()
                    rest = _survivors(unit, place, deaths, since)
                    if rest:
                        waiting.appendleft(rest)
        watch()
    finally:
        for worker in pools.values():
            worker.stop()


def _share_features(
    specs: Sequence[RunSpec], place: Place, pools: dict[int, _Worker], jobs: int, since: dict[str, int]
) -> None:
    """Where features are frozen, make each domain's once before the runs, instead of in every worker at the same time.

    Errors are left to the runs, which meet them again and record them.
    """
    from dazoo.data.names import split_name, targets_of

    wanted: dict[tuple[str, str], Protocol] = {}
    for spec in specs:
        dataset, sources, target = split_name(spec.task)
        for name in (*sources, *targets_of(target)) if spec.protocol.frozen else ():
            wanted.setdefault((dataset, name), spec.protocol)
    futures = []
    for i, ((_, name), protocol) in enumerate(wanted.items()):
        worker = pools.get(i % jobs) or pools.setdefault(i % jobs, _Worker(place, since))
        futures.append(worker.pool.submit(_warm, protocol, name))
    concurrent.futures.wait(futures)
    for slot in [i for i, worker in pools.items() if worker.broken]:
        pools.pop(slot).stop()


def _survivors(unit: list[RunSpec], place: Place, deaths: Counter[str], since: dict[str, int]) -> list[RunSpec]:
    """What is left of a dead worker's unit; a run that killed its worker twice is recorded as failed."""
    from dazoo.bench.execute.grouping import in_order
    from dazoo.bench.execute.record import record_death
    from dazoo.bench.records.claims import Claims
    from dazoo.bench.records.store import Follower

    known = set(Follower(place.out, since).new_keys())
    rest = [s for s in in_order(unit) if s.key not in known]
    claims = Claims(place.out)
    # the dead hold no claims any more: what is held is being run by somebody else, and did not kill this worker
    suspects = [s for s in rest if not claims.alive(s.key)]
    if suspects:
        deaths[suspects[0].key] += 1
        if deaths[suspects[0].key] >= TRIES:
            record_death(suspects[0], place)
            rest.remove(suspects[0])
    return rest


class _Watch:
    """Reports how many of the wanted runs are on disk, by following the shards' growth."""

    def __init__(self, place: Place, wanted: set[str], tick: Tick, since: dict[str, int]):
        from dazoo.bench.records.store import Follower

        self.wanted, self.tick = wanted, tick
        self.follower = Follower(place.out, since)

    def __call__(self) -> None:
        fresh = {k for k in self.follower.new_keys() if k in self.wanted}
        self.wanted -= fresh
        if fresh:
            self.tick(len(fresh))


class _Worker:
    """A pool of one process that ends at once when it is stopped or when this process is gone."""

    def __init__(self, place: Place, since: dict[str, int]):
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        receiver, self.sender = context.Pipe(duplex=False)
        self.pool = concurrent.futures.ProcessPoolExecutor(
            1, context, initializer=_start, initargs=(place, receiver, since)
        )

    @property
    def broken(self) -> bool:
        try:
            self.pool.submit(_nothing).result()
            return False
        except BrokenProcessPool:
            return True

    def stop(self) -> None:
        self.sender.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


# -- in the worker ------------------------------------------------------------------------------------------------

_runner: Any = None


def _start(place: Place, receiver: Any, since: dict[str, int]) -> None:
    for name in THREADS:
        os.environ[name] = "1"
    _end_when_told(receiver)
    import torch

    from dazoo.bench.execute.runner import Runner

    torch.set_num_threads(1)
    global _runner
    _runner = Runner(place, since)


def _work(unit: list[RunSpec]) -> list[RunSpec]:
    try:
        left: list[RunSpec] = _runner(unit)
        return left
    finally:
        _runner.close()


def _warm(protocol: Protocol, domain: str) -> None:
    _runner.tasks.load(protocol, domain)


def _nothing() -> None:
    """Answers if the process lives."""


def _end_when_told(receiver: Any) -> None:
    """End this process as soon as the other end of the pipe is closed, be it on purpose or because its owner died."""
    import multiprocessing.connection
    import threading

    def wait() -> None:
        multiprocessing.connection.wait([receiver])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
