"""Workers on a Ray cluster: one actor per job, which holds what a worker of this machine would, never a task per run.

Units wait here and are given to actors that are there, so a cluster with room for fewer works with fewer, and one that
grows gives more. An actor that dies is started again by Ray, on another machine where its own is gone. Results go
through the shards of the result folder, which all machines have to share. With the command its actors end.
"""

from __future__ import annotations

import fnmatch
import math
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dazoo.bench.execute.base import Executor, Outcome, Refusal, Setup, Unit, register
from dazoo.bench.execute.remote import Post, RemoteWorker, from_anywhere
from dazoo.core.errors import DazooError

if TYPE_CHECKING:
    from dazoo.bench.plan.plan import RunSpec

QUIET = 30.0
"""Seconds that workers may take to appear before a person is told."""
STORE = 100 << 20
"""Bytes that a cluster of our own may hold as objects: no result is one."""


@dataclass(frozen=True)
class Needs:
    """What an actor reserves: processor cores, GPUs (a part of one, too) and GB of memory."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0


@register
class Ray(Executor):
    """As many actors as there are jobs."""

    remote = queues = True
    options = {
        "address": "of the cluster, as in ray start; without, one of this machine is started",
        "cpus": "processor cores that a worker reserves (1); cpus:PATTERN for methods",
        "gpus": "GPUs that a worker reserves, for example 0.25 (1 where the device is cuda); gpus:PATTERN for methods",
        "memory": "GB of memory that a worker reserves; memory:PATTERN for methods",
    }

    def __init__(self, setup: Setup):
        import ray

        from dazoo.bench.records.stores import store_of

        self._started = not ray.is_initialized()
        if self._started:
            _connect(setup.options.get("address"), setup.jobs)
        device = setup.place.device
        if device == "auto":
            device = "cuda" if ray.cluster_resources().get("GPU", 0) > 0 else "cpu"
        super().__init__(replace(setup, place=replace(from_anywhere(setup.place), device=device)))
        self._claims = store_of(setup.place.out).claims()
        self._seen = self._claims.begin()
        self._waiting: deque[Unit] = deque()
        self._slots: list[_Slot] = []
        self._refused = 0
        self._hurry = time.monotonic() + QUIET

    @classmethod
    def check(cls, options: Mapping[str, str]) -> None:
        super().check(options)
        for name, value in options.items():
            if name != "address":
                _number(name, value)
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise DazooError("the executor ray needs Ray: pip install 'dazoo[ray]'") from error

    def kind(self, spec: RunSpec) -> Needs:
        found = self._usual
        for name, value in self.setup.options.items():
            what, _, pattern = name.partition(":")
            if what != "address" and (not pattern or _matches(spec, pattern)):
                found = replace(found, **{what: _number(name, value)})
        return found

    @property
    def workers(self) -> int:
        return self.setup.jobs - self._refused

    def free(self) -> int:
        if any(":" in name for name in self.setup.options):  # an actor that is idle looks for units of its kind in all
            return 1 << 30 if self.workers else 0
        return max(0, self.workers - len(self._waiting) - sum(slot.unit is not None for slot in self._slots))

    def submit(self, units: Sequence[Unit]) -> None:
        self._waiting.extend(units)

    def wait(self, seconds: float) -> list[Outcome]:
        import ray

        self._fill()
        self._say_if_none()
        calls = {slot.call: slot for slot in self._slots if slot.call is not None}
        if not calls:
            time.sleep(seconds)
            return []
        # one that ends wakes us, and those that have ended by then are taken with it
        done, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
        more, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return [o for call in dict.fromkeys([*done, *more]) if (o := self._ended(calls[call])) is not None]

    def dismiss(self, token: str) -> None:
        for slot in [s for s in self._slots if s.post.token == token]:
            self._remove(slot)
            self._refused += 1

    def close(self) -> None:
        import ray

        for slot in list(self._slots):
            self._remove(slot)
        self._claims.close()
        if self._started:
            ray.shutdown()

    @property
    def _usual(self) -> Needs:
        return Needs(gpus=1.0 if self.setup.place.device.startswith("cuda") else 0.0)

    def _needs(self, unit: Unit) -> Needs:
        return self.kind(unit.runs[0]) if unit.runs else self._usual

    def _fill(self) -> None:
        """Give idle actors units of their kind; make actors where units wait, others where none waits for one."""
        for slot in [s for s in self._slots if s.unit is None and self._waiting]:
            unit = next((u for u in self._waiting if self._needs(u) == slot.needs), None)
            if unit is None:
                self._remove(slot)
            elif slot.ready:
                self._waiting.remove(unit)
                slot.begin(unit)
        coming = Counter(slot.needs for slot in self._slots if not slot.ready)
        for unit in self._waiting:
            needs = self._needs(unit)
            if coming[needs]:
                coming[needs] -= 1
            elif len(self._slots) < self.workers:
                device = self.setup.place.device if needs.gpus else "cpu"
                place = replace(self.setup.place, device=device)
                self._slots.append(_Slot(needs, Post.of(place, self.setup.since, self._seen)))

    def _say_if_none(self) -> None:
        """Tell once when no actor has found room for a while: a cluster may have to grow, or may never have as much."""
        import ray

        if any(slot.ready for slot in self._slots):
            self._hurry = math.inf
        elif self._slots and time.monotonic() > self._hurry:
            self._hurry = math.inf
            there = {name: ray.cluster_resources().get(name, 0.0) for name in ("CPU", "GPU")}
            asked = self._slots[0].needs
            self.setup.tell(
                f"no worker has found room yet: one asks for {asked.cpus:g} CPU and {asked.gpus:g} GPU, "
                f"the whole cluster has {there['CPU']:g} and {there['GPU']:g}; waiting"
            )

    def _ended(self, slot: _Slot) -> Outcome | None:
        """What became of an actor's call; None where it only says that it is there."""
        import ray
        from ray.exceptions import RayActorError

        call, unit = slot.call, slot.unit
        slot.call = slot.unit = None
        try:
            answer = ray.get(call)
        except RayActorError as error:
            return self._died(slot, unit, error)
        if unit is None:
            slot.ready = True
            return None
        assert isinstance(answer, Outcome)
        return answer

    def _died(self, slot: _Slot, unit: Unit | None, error: Exception) -> Outcome | None:
        if unit is not None:
            slot.greet()  # Ray starts it again
            return Outcome(unit, died=True, token=slot.post.token)
        if not self._waiting:  # it did not come up at all
            self._remove(slot)
            return None
        why = "a worker could not be started: " + " ".join(str(error).split())[:300]
        return Outcome(self._waiting.popleft(), token=slot.post.token, refused=Refusal("the cluster", why))

    def _remove(self, slot: _Slot) -> None:
        import ray

        self._slots.remove(slot)
        with suppress(Exception):  # it is gone already, or the cluster is
            ray.kill(slot.actor)


class _Slot:
    """An actor and what it is at: ``call`` is the answer to come, to ``unit`` or to whether it is there."""

    def __init__(self, needs: Needs, post: Post):
        import ray

        self.needs, self.post = needs, post
        memory = {"memory": int(needs.memory * 2**30)} if needs.memory else {}
        kind = ray.remote(RemoteWorker).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_restarts=-1, max_task_retries=0, **memory
        )
        self.actor: Any = kind.remote(post)
        self.unit: Unit | None = None
        self.greet()

    def greet(self) -> None:
        self.ready, self.call = False, self.actor.about.remote()

    def begin(self, unit: Unit) -> None:
        self.unit, self.call = unit, self.actor.work.remote(unit)


def reach(address: str) -> None:
    """Raise ``DazooError`` where nobody listens at ``HOST:PORT``: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in address:  # auto, or a kind of address that Ray looks at
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise DazooError(f"no Ray cluster answers at {address}: {error}; start one with ray start --head") from error


def _connect(address: str | None, jobs: int) -> None:
    import ray

    if address is not None:
        reach(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "dazoo"}
    try:
        if address is None:
            ray.init("local", num_cpus=jobs, include_dashboard=False, object_store_memory=STORE, **quiet)
        else:
            ray.init(address, **quiet)
    except Exception as error:  # every kind of mistake in an address has another one
        where = (
            "no cluster of this machine could be started" if address is None else f"no Ray cluster answers at {address}"
        )
        raise DazooError(f"{where}: {' '.join(str(error).split())[:300]}") from error


def _matches(spec: RunSpec, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (spec.label, spec.method))


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (0 <= number < math.inf):
        raise DazooError(f"--with {name}={value}: a number that is not negative is needed, such as 0.5")
    return number
