"""Worker processes of this machine, one thread each; the default. One job is this process itself.

Every worker is a pool of one process, so the death of one leaves the others alone. Of several devices each worker is
given one, in turns: ``CUDA_VISIBLE_DEVICES`` is set in the worker before it loads torch, so that it holds no memory of
the others.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from dazoo.bench.execute.base import Executor, Outcome, Setup, Unit, register

if TYPE_CHECKING:  # a spawned worker imports this module before it may import numpy or torch
    from dazoo.bench.execute.place import Place
    from dazoo.bench.plan.plan import RunSpec

VISIBLE = "CUDA_VISIBLE_DEVICES"


@register
class Processes(Executor):
    """As many processes as there are jobs."""

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self._pools: dict[int, _Process] = {}
        self._busy: dict[concurrent.futures.Future[list[RunSpec]], tuple[int, Unit]] = {}

    @classmethod
    def here(cls, place: Place, jobs: int) -> bool:
        return jobs <= 1

    @property
    def workers(self) -> int:
        return self.setup.jobs

    def free(self) -> int:
        return self.setup.jobs - len(self._busy)

    def submit(self, units: Sequence[Unit]) -> None:
        slots = sorted(set(range(self.setup.jobs)) - {slot for slot, _ in self._busy.values()})
        for slot, unit in zip(slots, units):
            if slot not in self._pools:
                self._pools[slot] = _Process(*_of_slot(self.setup.place, slot), self.setup.since)
            self._busy[self._pools[slot].pool.submit(_work, unit)] = (slot, unit)

    def wait(self, seconds: float) -> list[Outcome]:
        done, _ = concurrent.futures.wait(self._busy, seconds, concurrent.futures.FIRST_COMPLETED)
        outcomes = []
        for future in done:
            slot, unit = self._busy.pop(future)
            try:
                outcomes.append(Outcome(unit, tuple(future.result())))
            except BrokenProcessPool:
                self._pools.pop(slot).stop()
                outcomes.append(Outcome(unit, died=True))
        return outcomes

    def dismiss(self, token: str) -> None:
        """Nothing: on this machine nobody refuses."""

    def close(self) -> None:
        for worker in self._pools.values():
            worker.stop()


def _of_slot(place: Place, slot: int) -> tuple[Place, str | None]:
    """Where the worker of a slot computes, and the devices that it is to see; None for those of this process."""
    if len(place.devices) <= 1:
        return place, None
    device = place.devices[slot % len(place.devices)]
    if not device.startswith("cuda"):
        return dataclasses.replace(place, device=device), None
    return dataclasses.replace(place, device="cuda"), visible(device, os.environ.get(VISIBLE))


def visible(device: str, seen: str | None) -> str:
    """What a process has to be told that shall see ``device`` alone, where this one was told ``seen``."""
    index = int(device.partition(":")[2] or 0)
    return [name.strip() for name in seen.split(",")][index] if seen else str(index)


class _Process:
    """A pool of one process that ends at once when it is stopped or when this process is gone."""

    def __init__(self, place: Place, devices: str | None, since: dict[str, int]):
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        receiver, self.sender = context.Pipe(duplex=False)
        self.pool = concurrent.futures.ProcessPoolExecutor(
            1, context, initializer=_start, initargs=(place, devices, receiver, since)
        )

    def stop(self) -> None:
        self.sender.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


# -- in the worker ------------------------------------------------------------------------------------------------

_worker: Any = None


def _start(place: Place, devices: str | None, receiver: Any, since: dict[str, int]) -> None:
    if devices is not None:
        os.environ[VISIBLE] = devices
    _end_when_told(receiver)
    global _worker
    from dazoo.bench.execute.worker import Worker

    _worker = Worker(place, since)


def _work(unit: Unit) -> list[RunSpec]:
    left: list[RunSpec] = _worker(unit)
    return left


def _end_when_told(receiver: Any) -> None:
    """End this process as soon as the other end of the pipe is closed, be it on purpose or because its owner died."""
    import multiprocessing.connection
    import threading

    def wait() -> None:
        multiprocessing.connection.wait([receiver])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
