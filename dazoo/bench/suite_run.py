"""Run a suite: what is missing and nothing twice, then the report."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from dazoo.bench.execute.base import EXECUTORS, Executor
from dazoo.bench.execute.executor import USUAL, execute
from dazoo.bench.execute.machine import machine
from dazoo.bench.execute.place import Place
from dazoo.bench.execute.rescore import rescore
from dazoo.bench.plan.plan import Plan, make_plan
from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.kept_files import kept_keys
from dazoo.bench.records.remote import is_remote, normal
from dazoo.bench.records.size import size_of
from dazoo.bench.records.store import Damage, Follower, stored
from dazoo.bench.records.stores import store_of
from dazoo.bench.report.build import report
from dazoo.bench.report.model import Report
from dazoo.core.errors import DazooError
from dazoo.core.files import write_text
from dazoo.engine.device import require_device
from dazoo.engine.parallel import check_processes
from dazoo.methods.base import METHODS
from dazoo.validators.base import VALIDATORS

SETTLED = 2.0
"""Seconds by which the clocks of files and of this process may differ."""


@dataclass(frozen=True)
class Job:
    """A suite that is ready to run: its plan, what is missing, and where.

    ``failed`` counts stored runs that failed and are not tried again. ``narrowed`` tells whether only a part of the
    suite was asked for. ``since``: sizes of the shards at that time.
    """

    suite: Suite
    plan: Plan
    missing: list[Any]
    place: Place
    jobs: int = 1
    failed: int = 0
    narrowed: bool = False
    damage: Damage = field(default_factory=Damage)
    since: dict[str, int] = field(default_factory=dict)
    executor: str = USUAL
    options: dict[str, str] = field(default_factory=dict)


def prepare(
    suite: str | Path | dict[str, Any] | Suite,
    *,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    methods: Iterable[str] = (),
    tasks: str | None = None,
    seeds: int | None = None,
    jobs: int = 1,
    device: str = "auto",
    retry_failed: bool = False,
    keep: str | int | None = None,
    stack: int | None = None,
    executor: str = USUAL,
    options: Mapping[str, str] | None = None,
    processes: int = 1,
) -> Job:
    """Read and check everything before the first run starts.

    Args:
        suite: a suite file or the name of one, its content, or a ``Suite``.
        out: result folder; ``results/<name of the suite>`` by default.
        methods: names or patterns to run instead of all; a path to a Python file adds its methods to the run.
        tasks: a task pattern instead of the suite's. seeds: a number of seeds instead of the suite's.
        jobs: workers, one thread each; at least as many as there are devices.
        device: where to compute; several, separated by commas, are given to the workers in turns.
        retry_failed: run again what failed before.
        keep: disk space for outputs of checkpoints, e.g. ``"200MB"``, instead of the suite's; 0 keeps none.
        stack: runs of one method that train as one batched model, at most; 64 on CUDA and 1 on a CPU by default.
        executor: name of what does the work (``dazoo.bench.execute.base.EXECUTORS``); ``options`` are its own.
        processes: how many train one run together, each a share of the rows of its batches; see ``engine.parallel``.

    Raises:
        DazooError: something in the suite or the arguments is wrong.
    """
    if isinstance(suite, (str, Path)):
        suite = Suite.load(find_suite(suite))
    whole = Suite.of(suite) if isinstance(suite, dict) else suite
    if jobs < 1:
        raise DazooError(f"at least one job is needed, not {jobs}")
    work = EXECUTORS.get(executor)
    work.check(options or {})
    devices = _devices(device, work)
    jobs = max(jobs, len(devices))
    if processes > 1:
        check_processes(processes, devices)
    if stack is not None and stack < 1:
        raise DazooError(f"a group has at least one run, not {stack}")
    files = [m for m in methods if m.endswith(".py") or "/" in m]
    names = [m for m in methods if m not in files]
    sources: dict[str, str] = {}
    for path in files:
        code = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if Path(path).is_file() else ""
        sources |= {name: code for name in METHODS.load_file(path)}
    listed = [m.label or m.name for m in whole.methods]
    for name in names:
        if not any(ch in name for ch in "*?[") and name not in listed:
            METHODS.get(name)
        elif not any(fnmatch.fnmatchcase(m, name) for m in listed) and not METHODS.names(name):
            raise DazooError(f"no method matches {name!r}; dazoo list methods shows them all")
    chosen = whole.narrow(names, tasks, seeds, added=sources)
    plan = make_plan(chosen, data_root, sources)
    where = str(out) if out is not None else str(Path("results") / whole.name)
    if is_remote(where):
        where = normal(where)
    store = store_of(where)
    store.pull()
    folder = store.folder
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise DazooError(f"{folder} is a file or a broken link, and no folder for results; name another with --out")
    since = Follower(folder).at  # before reading: what is appended from now on counts as done meanwhile
    known, damage = stored(folder)
    done = [k for k, status in known.items() if status == "ok" or not retry_failed]
    missing = plan.missing(done)
    place = Place(
        where,
        None if data_root is None else str(data_root),
        devices[0],
        tuple(str(Path(f).resolve()) for f in files),
        size_of(whole.keep if keep is None else keep),
        stack,
        jobs,
        devices if len(devices) > 1 else (),
        processes,
    )
    failed = sum(known.get(s.key) == "failed" for s in plan.specs) if not retry_failed else 0
    return Job(
        whole,
        plan,
        missing,
        place,
        jobs,
        failed,
        chosen.to_json() != whole.to_json(),
        damage,
        since,
        executor,
        dict(options or {}),
    )


def carry_out(job: Job, tick: Callable[[int], None] | None = None, tell: Callable[[str], None] | None = None) -> Report:
    """Execute what is missing, or wait for another process that is at it, then rebuild the report."""
    store, folder, began = store_of(job.place.out), job.place.folder, time.time() - SETTLED
    store.publish(began)  # what a process that was killed had no time to send
    folder.mkdir(parents=True, exist_ok=True)
    _copy_suite(job.suite, folder / "suite.yaml")
    if not job.narrowed or not (folder / "plan.json").is_file():
        plan = {"runs": len(job.plan.specs), "skipped": [asdict(s) for s in job.plan.skipped]}
        write_text(folder / "plan.json", json.dumps(plan, indent=1) + "\n")
    if job.missing:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        environment = {"started": now, "jobs": job.jobs, **machine(job.place.device)}
        write_text(folder / "environment.json", json.dumps(environment, indent=1) + "\n")
    execute(
        job.missing, job.place, job.jobs, tick, since=job.since, tell=tell, executor=job.executor, options=job.options
    )
    of_groups = [
        n for n in (job.plan.specs[0].protocol.validators if job.plan.specs else ()) if VALIDATORS.get(n).of_group
    ]
    if of_groups:
        rescore(folder, of_groups, data_root=job.place.data_root)
    with suppress(OSError):  # states of unfinished training runs stay
        (folder / "state").rmdir()
    store.pull()
    made = report(folder)
    store.publish(began)
    return made


def _devices(asked: str, work: type[Executor]) -> tuple[str, ...]:
    """The devices that were asked for, each of which is there; those of other machines are found out there."""
    names = tuple(name.strip() for name in asked.split(","))
    if work.remote:
        if len(names) > 1:
            raise DazooError(
                f"--device {asked}: workers on other machines are given their devices there; name one kind"
            )
        return names
    return tuple(require_device(name) for name in names)


def unkept(job: Job) -> int:
    """How many runs of the job succeeded without their outputs being kept, where some should be."""
    if not job.place.keep:
        return 0
    known, _ = stored(job.place.folder)
    kept = kept_keys(job.place.folder)
    return sum(known.get(s.key) == "ok" and s.key not in kept for s in job.missing)


def run_suite(suite: str | Path | dict[str, Any] | Suite, **options: Any) -> Report:
    """``prepare`` and ``carry_out`` in one call; options as of ``prepare``."""
    return carry_out(prepare(suite, **options))


def _copy_suite(suite: Suite, path: Path) -> None:
    source = Path(suite.origin.file) if suite.origin.file else None
    if source is not None and source.is_file():
        if source.resolve() != path.resolve():
            write_text(path, source.read_text(encoding="utf-8"))
    else:
        write_text(path, yaml.safe_dump(suite.to_json(), sort_keys=False, allow_unicode=True))
