"""One run after the other: data, fit, validators, target metrics, record."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from dazoo.bench.execute.clock import Stopwatch, load
from dazoo.bench.execute.grouping import Memos, grouped, run_group
from dazoo.bench.execute.observer import Sitting
from dazoo.bench.plan.plan import Protocol, RunSpec
from dazoo.bench.plan.represent import feature_map, represented
from dazoo.bench.records.claims import Claims
from dazoo.bench.records.keep import Keeper
from dazoo.bench.records.size import BUDGET, size_of
from dazoo.bench.records.store import Follower, Writer
from dazoo.core.hparam import configure
from dazoo.core.setting import Setting
from dazoo.core.types import Seen
from dazoo.data.domain import Domain
from dazoo.data.registry import load_domain, split_name
from dazoo.data.scales import scales_of
from dazoo.data.task import Task
from dazoo.data.transform import apply, apply_to_task, leading
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, GradientMethod, Memo
from dazoo.shallow.classifiers import classifier

CLAIMED = 0.5
KEPT_TASKS = 2
KEPT_BYTES = 64 << 20  # of small domains more are kept, since what is computed of them serves all of their pairs


@dataclass(frozen=True)
class Place:
    """Where runs happen; nothing in here changes a result.

    ``out`` is the result folder, ``method_files`` are Python files whose methods must be loaded first, ``keep`` is the
    number of bytes of outputs that may be kept in the folder. ``stack`` is the largest number of runs that train as one
    batched model; None is 64 on CUDA and 1 on a CPU, where it gains nothing. ``jobs`` is the number of workers.
    """

    out: str
    data_root: str | None = None
    device: str = "cpu"
    method_files: tuple[str, ...] = ()
    keep: int = size_of(BUDGET)
    stack: int | None = None
    jobs: int = 1

    @property
    def group(self) -> int:
        """The largest number of runs in a group."""
        return self.stack or (64 if self.device.startswith("cuda") else 1)


class Runner:
    """Executes runs in this process and appends their records. Keeps the data of the last tasks."""

    def __init__(self, place: Place, since: dict[str, int] | None = None):
        """``since``: sizes of the shards when the runs were planned, see ``store.Follower``."""
        self.place = place
        self.writer = Writer(place.out)
        self.claims = Claims(place.out)
        self.follower = Follower(place.out, since)
        self.recorded: set[str] = set()
        for path in place.method_files:
            METHODS.load_file(path)
        self._domains: OrderedDict[str, dict[str, Domain]] = OrderedDict()
        self._representation: tuple[tuple[Any, ...], Task] | None = None
        self._scales: tuple[tuple[Any, ...], tuple[str, ...]] | None = None

    def __call__(self, specs: Iterable[RunSpec], done: Callable[[RunSpec], None] | None = None) -> list[RunSpec]:
        """Run those of ``specs`` that no other process is at; those on the same data follow each other and share memos.

        Runs are claimed before they start, at first one group, then as many as fill about ``CLAIMED`` seconds, and
        released when their records are on disk.

        Args:
            done: called for every run that has a record now, made here or by another process.

        Returns:
            The runs that other processes are at.
        """
        memos, shared = Memos(), None
        waiting, left, size = deque(grouped(in_order(specs), self.place.group)), [], 1
        while waiting:
            chunk = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            mine, others = self._claim([s for group in chunk for s in group], done)
            left += others
            began = time.perf_counter()
            try:
                for group in ([s for s in group if s.key in mine] for group in chunk):
                    if not group:
                        continue
                    if group[0].data_key != shared:
                        memos.leave(None if self.place.group == 1 else group[0].task)
                        shared = group[0].data_key
                    for spec, (status, body) in zip(group, run_group(self, group, memos)):
                        self.writer.append(spec.key, status, body)
                        if done is not None:
                            done(spec)
                self.writer.sync()
            finally:
                self.claims.release(mine)
            spent = (time.perf_counter() - began) / len(chunk)
            size = int(min(64, 2 * size, max(1.0, CLAIMED / max(spent, 1e-3))))
        return left

    def _claim(self, specs: list[RunSpec], done: Callable[[RunSpec], None] | None) -> tuple[set[str], list[RunSpec]]:
        """The keys of ``specs`` to run here, and the runs that others are at; what has a record by now is neither."""
        mine = self.claims.take(s.key for s in specs)
        self.recorded |= set(self.follower.new_keys())  # after claiming: what was released before is on disk
        self.claims.release(mine & self.recorded)
        for spec in specs:
            if spec.key in self.recorded and done is not None:
                done(spec)
        return mine - self.recorded, [s for s in specs if s.key not in mine and s.key not in self.recorded]

    def close(self) -> None:
        """Flush the records and release all claims."""
        self.writer.close()
        self.claims.close()

    def run(self, spec: RunSpec, memo: Memo) -> tuple[str, dict[str, Any]]:
        """The status and record of one run; a run that fails is recorded with its error."""
        record = opening(spec, self.place)
        reset_peak(self.place.device)
        watch = Stopwatch(self.place.device)
        notes: list[dict[str, Any]] = []
        keeper = self.keeper(spec)
        try:
            record |= self._fit(spec, memo, notes, keeper)
            status = "ok"
        except (KeyboardInterrupt, SystemExit):
            raise
        except Exception as error:  # a failing run must not take the suite with it
            status = "failed"
            record["error"] = describe_error(error)
            keeper.discard()
        record["checkpoints"] = notes
        return status, watch.spent().to_json() | record | {"peak_memory_mb": peak_memory(self.place.device)} | machine(
            self.place.device
        )

    def _fit(self, spec: RunSpec, memo: Memo, notes: list[dict[str, Any]], keeper: Keeper) -> dict[str, Any]:
        sitting = self.sit(spec, notes, keeper)
        if spec.protocol.recipe is not None:
            warm_up()
        state = Path(self.place.out) / "state" / f"{spec.key}.pt"
        watch = Stopwatch(self.place.device)
        result = fit(
            sitting.method,
            sitting.seen,
            seed=spec.seed,
            options=self.options(spec.protocol),
            on_checkpoint=sitting.look,
            memo=memo,
            state=state,
            notes=notes,
        )
        spent = watch.spent() - sitting.looking - sitting.keeping
        state.unlink(missing_ok=True)
        return sitting.close(result, spent)

    def sit(self, spec: RunSpec, notes: list[dict[str, Any]], keeper: Keeper) -> Sitting:
        """The data and the method of a run, and what looks at its checkpoints."""
        task = self.task(spec)
        method = configure(METHODS.get(spec.method), spec.hparams)
        seen = task.seen()
        said = list(self._said(spec, seen))
        return Sitting(spec, task, seen, method, notes, keeper, device=self.place.device, warnings=said)

    def _said(self, spec: RunSpec, seen: Seen) -> tuple[str, ...]:
        """What is to be said of the features, judged once for the runs on the same data."""
        if self._scales is None or self._scales[0] != spec.data_key:
            self._scales = (spec.data_key, scales_of(seen).all)
        return self._scales[1]

    def keeper(self, spec: RunSpec) -> Keeper:
        """What keeps a run's outputs; the model of a method loaded from a file is not kept, since the file may go."""
        trained = spec.protocol.recipe is not None and spec.method in METHODS
        trained = trained and issubclass(METHODS.get(spec.method), GradientMethod)
        points = spec.protocol.checkpoints if trained else 1
        return Keeper(self.place.out, spec.key, self.place.keep, points, portable_model=spec.code is None)

    def options(self, protocol: Protocol) -> Options:
        """How to fit under a protocol."""
        chosen = dict(protocol.classifier or {})
        return Options(
            recipe=None if protocol.recipe is None else Recipe.from_json(protocol.recipe),
            classifier=classifier(chosen.pop("name"), **chosen) if chosen else None,
            backbone="none" if protocol.frozen else protocol.backbone,
            image_size=None if protocol.frozen else protocol.image_size,
            device=self.place.device,
            checkpoints=protocol.checkpoints,
        )

    def task(self, spec: RunSpec) -> Task:
        """The task of a run, its data loaded once for the runs that follow each other."""
        protocol = spec.protocol
        _, sources, target = split_name(spec.task)
        domains = self._domains.pop(spec.task, None)
        if domains is None:
            kept = {name: d for held in self._domains.values() for name, d in held.items()}
            domains = {n: kept.get(n) or self.load(protocol, n) for n in (*sources, target)}
            while len(self._domains) >= KEPT_TASKS and self._held() > KEPT_BYTES:
                self._domains.popitem(last=False)
        self._domains[spec.task] = domains
        task = Task(
            spec.task,
            tuple(domains[s] for s in sources),
            domains[target],
            setting=Setting.of(spec.setting),
            few_per_class=protocol.few_labels,
            source_holdout=protocol.source_holdout,
            target_holdout=protocol.target_holdout,
            seed=spec.seed,
        )
        alone = len(leading(protocol.transform)) == len(protocol.transform)
        return task if protocol.represent is None and alone else self._represented(task, spec)

    def _held(self) -> int:
        """Bytes of the samples of all domains that are kept."""
        kept = {id(d): d.x.nbytes for held in self._domains.values() for d in held.values()}
        return sum(kept.values())

    def _represented(self, task: Task, spec: RunSpec) -> Task:
        """``task`` under transforms of both domains and over the suite's learned representation, where it has such;
        learned once for the runs on the same data."""
        if self._representation is None or self._representation[0] != spec.data_key:
            self._representation = None  # the old one goes before the new one comes
            names = spec.protocol.transform
            made, _ = apply_to_task(task, names[len(leading(names)) :])
            chosen = dict(spec.protocol.represent or {})
            if chosen:
                made = represented(made, feature_map(chosen.pop("name"), **chosen), spec.seed)
            self._representation = (spec.data_key, made)
        return self._representation[1]

    def load(self, protocol: Protocol, name: str) -> Domain:
        """A domain as the protocol shows it by itself: loaded, turned into frozen features, transformed."""
        domain = load_domain(protocol.dataset, name, self.place.data_root, **protocol.options)
        if protocol.frozen:
            from dazoo.nets.frozen import frozen

            domain = frozen(domain, protocol.backbone, image_size=protocol.image_size, device=self.place.device)
        return apply(domain, leading(protocol.transform))


def in_order(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """The order in which runs are executed: those on the same data together."""
    return sorted(specs, key=lambda s: tuple("" if k is None else str(k) for k in s.data_key))


def record_death(spec: RunSpec, place: Place) -> None:
    """Record a run that took its worker process with it."""
    error = {
        "type": "WorkerDied",
        "message": "the worker process died in this run, twice; it was killed or ran out of memory",
        "traceback": "",
    }
    writer = Writer(place.out)
    writer.append(
        spec.key,
        "failed",
        opening(spec, place) | {"error": error, "checkpoints": [], "seconds": None} | machine(place.device),
    )
    writer.close()


def opening(spec: RunSpec, place: Place) -> dict[str, Any]:
    """How a record begins; ``load`` is that of the machine at this moment."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"variant": spec.variant, "started": started, "load": load(place.jobs), "spec": spec.to_json()}


def describe_error(error: BaseException) -> dict[str, str]:
    """Type, message and the last lines of the traceback, with files named as importable, not where they lie."""
    lines = "".join(traceback.format_exception(error))
    told = re.sub(r'File "([^"]+)"', lambda found: f'File "{_importable(found[1])}"', lines)
    message = str(error).strip() or type(error).__name__
    return {"type": type(error).__name__, "message": message[:500], "traceback": told[-2000:]}


def _importable(file: str) -> str:
    """``file`` below the entry of ``sys.path`` it was found through; only its name where there is none."""
    for root in sorted(filter(None, sys.path), key=len, reverse=True):
        if file.startswith(root.rstrip("/") + "/"):
            return file[len(root.rstrip("/")) + 1 :]
    return Path(file).name


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Pay for what torch loads with its first optimiser now, so that no run's time contains it."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def reset_peak(device: str) -> None:
    """Start measuring peak memory anew, where the system allows it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # elsewhere the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> float | None:
    """Peak memory in MB since ``reset_peak``: of the device, or resident memory of this process."""
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if platform.system() == "Darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6, 1)


@lru_cache(maxsize=4)
def machine(device: str) -> dict[str, Any]:
    """Device, machine and versions of what computed a run."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("torch", "numpy", "scipy", "scikit-learn", "POT", "timm", "dazoo"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    card = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "device": card or "cpu",
        "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()},
        "versions": versions,
    }


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
