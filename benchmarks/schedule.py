"""How evenly runs are shared out among 2 to 4,096 workers: ``python -m benchmarks.schedule``.

Every run of the committed records is planned again and takes the CPU seconds that it took. Workers take one unit after
the other; a unit first opens its data. The ideal is what no division can beat: all seconds over the number of workers,
or the longest run. Expectations are those of

- ``records``: earlier records of the same rows and tasks (their mean over seeds),
- ``other suites``: the records of all suites but the one that is planned, and nothing of its own,
- ``nothing``: recipe and size of the data.

Then they follow what runs have taken (``plan.learned``), and what waits is divided again, ``divided`` times in all.
``before`` is the division of version 0.1.0 in the same simulation: whole tasks, or pairs of task and row, in the order
of the plan. The seconds that opening takes are measured.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dazoo.bench.execute.clock import load
from dazoo.bench.execute.grouping import in_order
from dazoo.bench.execute.machine import machine
from dazoo.bench.execute.schedule import Part, Schedule
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.costs import Costs
from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.plan.protocol import Protocol
from dazoo.bench.records.store import Damage, records
from dazoo.core.errors import DazooError

WORKERS = (2, 16, 256, 4096)
AIM = 1.1
"""Of the ideal time, what the last worker may take."""
WHOLE = "office_caltech10_features"
"""The suite of all methods on 12 pairs with three seeds."""
Runs = dict[RunSpec, float]


def recorded(folder: Path) -> list[tuple[RunSpec, float]]:
    """The runs of a result folder as they were planned, and the seconds they took; its name is part of their tasks."""
    found: dict[str, tuple[RunSpec, float]] = {}
    for record in records(folder, Damage()):
        spec = record["spec"]
        seconds = record.get("cpu_seconds") or record.get("seconds")
        if record["status"] != "ok" or not seconds or "protocol" not in spec:
            continue
        fields = {k: spec[k] for k in ("method", "label", "family", "setting", "hparams", "overrides", "seed", "trial")}
        protocol = Protocol(**{"checkpoints": 1, **spec["protocol"]})
        found[record["key"]] = (
            RunSpec(
                protocol,
                f"{folder.name}~{spec['task']}",
                code=spec.get("code"),
                revision=spec.get("revision", 0),
                **fields,
            ),
            seconds,
        )
    return list(found.values())


def before(specs: Sequence[RunSpec], jobs: int) -> list[Part]:
    """The units of version 0.1.0."""
    whole = len({s.task for s in specs}) >= 2 * jobs
    found: dict[object, Part] = {}
    for spec in specs:
        found.setdefault(spec.task if whole else (spec.task, spec.label), []).append(spec)
    return list(found.values())


def makespan(
    shared: Sequence[Part], seconds: dict[int, float], workers: int, opening: float, schedule: Schedule | None = None
) -> float:
    """When the last of ``workers`` ends that take one unit after the other.

    Args:
        schedule: learns what runs took and divides again what waits, and idle workers are given the ends of units that
            others are at, as ``executor`` does; without, neither.
    """
    waiting, running = deque(shared), [Running() for _ in range(workers)]
    events = [(0.0, i) for i in range(workers)]
    last = 0.0
    while events:
        now, i = heapq.heappop(events)
        mine = running[i]
        if schedule is not None and mine.at is not None:
            schedule.learn(mine.at, seconds[id(mine.at)])
            if schedule.due and waiting:
                going = [(r.at, now - r.began) for r in running if r.at is not None and r is not mine]
                waiting = deque(schedule.units([s for unit in waiting for s in unit], workers, going))
        mine.at = None
        if not mine.runs:
            if waiting:
                mine.take(waiting.popleft(), schedule)
            elif schedule is not None:
                other = max(running, key=lambda r: r.left)
                if not other.runs:
                    continue
                mine.take(other.second_half(schedule), schedule)
            else:
                continue
        spec = mine.next(schedule)
        took = seconds[id(spec)] + (opening if spec.data_key != mine.opened else 0.0)
        mine.opened, mine.began = spec.data_key, now
        last = max(last, now + took)
        heapq.heappush(events, (now + took, i))
    return last


class Running:
    """The run that a worker is ``at`` since ``began``, and those before it, the next one last; ``left`` are seconds."""

    def __init__(self) -> None:
        self.at: RunSpec | None = None
        self.runs: list[RunSpec] = []
        self.left = self.began = 0.0
        self.opened: object = None

    def take(self, unit: Sequence[RunSpec], schedule: Schedule | None) -> None:
        self.runs, self.opened = in_order(unit)[::-1], None
        self.left = sum(map(schedule.learned, self.runs)) if schedule is not None else 0.0

    def next(self, schedule: Schedule | None) -> RunSpec:
        self.at = self.runs.pop()
        self.left = self.left - schedule.learned(self.at) if schedule is not None and self.runs else 0.0
        return self.at

    def second_half(self, schedule: Schedule) -> list[RunSpec]:
        n = (len(self.runs) + 1) // 2
        gone, self.runs = self.runs[:n][::-1], self.runs[n:]
        self.left = sum(map(schedule.learned, self.runs)) if self.runs else 0.0
        return gone


class Timed(Schedule):
    """A schedule that says what it takes itself."""

    spent, times = 0.0, 0

    def units(self, specs: Iterable[RunSpec], jobs: int, going: Iterable[tuple[RunSpec, float]] = ()) -> list[Part]:
        start = time.process_time()
        found = super().units(specs, jobs, going)
        self.spent, self.times = self.spent + time.process_time() - start, self.times + 1
        return found


def opening_of(runs: Sequence[RunSpec], root: str | None) -> float | None:
    """Measured seconds until a task's data are there, on average over its pairs, in one process; None without data."""
    tasks, spent = Tasks(root), []
    for spec in {s.task: s for s in runs}.values():
        start = time.process_time()
        try:
            tasks(replace(spec, task=spec.task.partition("~")[2])).seen()
        except DazooError:
            return None
        spent.append(time.process_time() - start)
    return sum(spent) / len(spent)


def expectations(suites: dict[str, list[tuple[RunSpec, float]]], opening: float) -> dict[str, Callable[[str], Costs]]:
    """By name, what is expected of the runs of a suite."""

    def observed(names: Sequence[str], own: bool) -> Iterator[tuple[str, str, float]]:
        for name in names:
            for spec, seconds in suites[name]:
                yield spec.label, spec.task if own else spec.task.partition("~")[2], seconds

    return {
        "records": lambda name: Costs.of(observed([name], own=True), opening),
        "other suites": lambda name: Costs.of(
            observed([n for n in suites if n != name], own=False), opening, own=False
        ),
        "nothing": lambda name: Costs(opening=opening),
    }


def simulate(
    suites: dict[str, list[tuple[RunSpec, float]]], opening: float, workers: Sequence[int] = WORKERS
) -> Iterator[dict[str, object]]:
    """One row per table, expectation and number of workers."""
    for table in ("all suites", WHOLE):
        names = list(suites) if table == "all suites" else [WHOLE]
        runs = [run for name in names for run in suites[name]]
        seconds = {id(spec): took for spec, took in runs}
        specs = [spec for spec, _ in runs]
        longest, total = max(seconds.values()) + opening, sum(seconds.values())
        for known, costs_of in expectations(suites, opening).items():
            expected = _Each({name: costs_of(name) for name in names}, opening)
            for n in workers:
                schedule = Timed(expected)
                shared = schedule.units(specs, n)
                ideal = max(total / n, longest)
                took = makespan(shared, seconds, n, opening, schedule)
                was = makespan(before(specs, n), seconds, n, opening)
                yield {
                    "table": table,
                    "runs": len(specs),
                    "expected from": known,
                    "workers": n,
                    "units at first": len(shared),
                    "ideal (s)": round(ideal, 1),
                    "bound by": "the longest run" if longest >= total / n else "all seconds",
                    "makespan (s)": round(took, 1),
                    "over ideal": round(took / ideal, 3),
                    "aim": AIM,
                    "before, over ideal": round(was / ideal, 3),
                    "divided": schedule.times,
                    "planning (s)": round(schedule.spent, 2),
                }


class _Each(Costs):
    """Expectations that differ between suites, each found once."""

    def __init__(self, costs: dict[str, Costs], opening: float):
        super().__init__(opening=opening)
        object.__setattr__(self, "of_suite", costs)
        object.__setattr__(self, "found", {})

    def __call__(self, spec: RunSpec) -> float:
        return self._of(spec)[0]

    def doubt(self, spec: RunSpec) -> float:
        return self._of(spec)[1]

    def _of(self, spec: RunSpec) -> tuple[float, float]:
        found = self.found  # type: ignore[attr-defined]
        if id(spec) not in found:
            suite, _, task = spec.task.partition("~")
            costs = self.of_suite[suite]  # type: ignore[attr-defined]
            named = spec if (spec.label, spec.task) in costs.known else replace(spec, task=task)
            found[id(spec)] = float(costs(named)), float(costs.doubt(named))
        return found[id(spec)]  # type: ignore[no-any-return]


def write(rows: list[dict[str, object]], said: list[str], out: Path) -> None:
    """The rows as ``schedule.csv`` and ``schedule.md``."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "schedule.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["# How evenly runs are shared out", "", *said, ""]
    lines += ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    (out / "schedule.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="Folder of result folders.")
    parser.add_argument("--out", type=Path, help="Write schedule.csv and schedule.md there.")
    chosen = parser.parse_args()
    suites = {p.name: found for p in sorted(chosen.results.iterdir()) if (found := recorded(p))}
    measured = opening_of([spec for spec, _ in suites[WHOLE]], os.environ.get("DAZOO_DATA"))
    opening = measured if measured is not None else Costs().opening
    rows = []
    for row in simulate(suites, opening):
        rows.append(row)
        print(row, flush=True)
    if chosen.out is not None:
        about, busy = machine("cpu"), load(1)
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        how = "measured" if measured is not None else "not measured, the default"
        said = [
            "A simulation over the committed records: what is simulated, and the ideal, say the first lines of "
            "`benchmarks/schedule.py`; made by `python -m benchmarks.schedule --out results/schedule`.",
            f"Opening the data of a task: {opening:.4f} s ({how}). {about['machine']['processor']}, {busy['cpus']} "
            f"processors, load {busy['average']}; {versions}.",
        ]
        write(rows, said, chosen.out)


if __name__ == "__main__":
    main()
