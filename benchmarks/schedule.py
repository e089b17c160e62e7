"""How evenly runs are shared out among 2 to 4,096 workers: ``python -m benchmarks.schedule``.

Every run of the committed records is planned again and takes the CPU seconds that it took. Workers take one unit after
the other; a unit first opens its data. The ideal is what no division can beat: all seconds over the number of workers,
or the longest run. Expectations are those of

- ``records``: earlier records of the same rows and tasks (their mean over seeds),
- ``other suites``: the records of all suites but the one that is planned, and nothing of its own,
- ``nothing``: recipe and size of the data.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dazoo.bench.execute.clock import load
from dazoo.bench.execute.grouping import in_order
from dazoo.bench.execute.machine import machine
from dazoo.bench.execute.schedule import Part, units
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
    shared: Sequence[Part], seconds: dict[int, float], workers: int, opening: float, tails: Costs | None = None
) -> float:
    """When the last of ``workers`` ends that take one unit after the other.

    Args:
        tails: what runs are expected to take, where idle workers are given the ends of units that others are at, as
            ``executor`` does; without, they are not.
    """
    waiting, running = deque(shared), [Running() for _ in range(workers)]
    events = [(0.0, i) for i in range(workers)]
    last = 0.0
    while events:
        now, i = heapq.heappop(events)
        mine = running[i]
        if not mine.runs:
            if waiting:
                mine.take(waiting.popleft(), tails)
            elif tails is not None:
                other = max(running, key=lambda r: r.left)
                if not other.runs:
                    continue
                mine.take(other.second_half(tails), tails)
            else:
                continue
        spec = mine.next(tails)
        took = seconds[id(spec)] + (opening if spec.data_key != mine.opened else 0.0)
        mine.opened = spec.data_key
        last = max(last, now + took)
        heapq.heappush(events, (now + took, i))
    return last


class Running:
    """What a worker has before it, the next run last; ``left`` are the seconds expected of it."""

    def __init__(self) -> None:
        self.runs: list[RunSpec] = []
        self.left = 0.0
        self.opened: object = None

    def take(self, unit: Sequence[RunSpec], costs: Costs | None) -> None:
        self.runs, self.opened = in_order(unit)[::-1], None
        self.left = sum(map(costs, self.runs)) if costs is not None else 0.0

    def next(self, costs: Costs | None) -> RunSpec:
        spec = self.runs.pop()
        self.left -= costs(spec) if costs is not None else 0.0
        return spec

    def second_half(self, costs: Costs) -> list[RunSpec]:
        n = (len(self.runs) + 1) // 2
        gone, self.runs = self.runs[:n][::-1], self.runs[n:]
        self.left = sum(map(costs, self.runs)) if self.runs else 0.0
        return gone


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
        "other suites": lambda name: Costs.of(observed([n for n in suites if n != name], own=False), opening),
        "nothing": lambda name: Costs(opening=opening),
    }


def simulate(suites: dict[str, list[tuple[RunSpec, float]]], opening: float) -> Iterator[dict[str, object]]:
    """One row per table, expectation and number of workers."""
    for table in ("all suites", WHOLE):
        names = list(suites) if table == "all suites" else [WHOLE]
        runs = [run for name in names for run in suites[name]]
        seconds = {id(spec): took for spec, took in runs}
        specs = [spec for spec, _ in runs]
        longest, total = max(seconds.values()) + opening, sum(seconds.values())
        for known, costs_of in expectations(suites, opening).items():
            costs = {name: costs_of(name) for name in names}
            expected = _Each(costs, opening)
            for workers in WORKERS:
                start = time.process_time()
                shared = units(specs, workers, expected)
                planning = time.process_time() - start
                ideal = max(total / workers, longest)
                took = makespan(shared, seconds, workers, opening, _Known(expected, specs))
                was = makespan(before(specs, workers), seconds, workers, opening)
                yield {
                    "table": table,
                    "runs": len(specs),
                    "expected from": known,
                    "workers": workers,
                    "units": len(shared),
                    "ideal (s)": round(ideal, 1),
                    "bound by": "the longest run" if longest >= total / workers else "all seconds",
                    "makespan (s)": round(took, 1),
                    "over ideal": round(took / ideal, 3),
                    "aim": AIM,
                    "before, over ideal": round(was / ideal, 3),
                    "planning (s)": round(planning, 2),
                }


class _Known(Costs):
    """Expectations, each found once."""

    def __init__(self, costs: Costs, specs: Sequence[RunSpec]):
        super().__init__(opening=costs.opening)
        object.__setattr__(self, "found", {id(s): costs(s) for s in specs})

    def __call__(self, spec: RunSpec) -> float:
        return float(self.found[id(spec)])  # type: ignore[attr-defined]


class _Each(Costs):
    """Expectations that differ between suites."""

    def __init__(self, costs: dict[str, Costs], opening: float):
        super().__init__(opening=opening)
        object.__setattr__(self, "of_suite", costs)

    def __call__(self, spec: RunSpec) -> float:
        suite, _, task = spec.task.partition("~")
        costs = self.of_suite[suite]  # type: ignore[attr-defined]
        own = (spec.label, spec.task) in costs.known
        return float(costs(spec if own else replace(spec, task=task)))


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
