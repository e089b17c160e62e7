"""How long the whole table of features takes on two cores: ``python -m benchmarks.table_time``.

All methods of suite ``office_caltech10_features`` are run with one seed on six of its twelve pairs, by the command that
a user gives, with two workers and an empty folder. Counted are the CPU seconds of the command and of all its workers:
reading, evaluation, validators and records included. Each two domains stand in one of the six pairs, so that means of
costs that grow with the samples of either domain, or with their product, are those of the twelve. The whole table is
the sample's seconds times its runs over those of the sample; what its seeds share is left out.

The accuracies of the sample are compared with those of the committed records of the same runs: a table that is made
faster has to stay the table.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dazoo.bench.execute.machine import machine
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Damage, records
from dazoo.core.files import write_text

SUITE = "office_caltech10_features"
BEFORE = Path("results") / SUITE / "seconds.csv"
PAIRS = ("amazon->webcam", "amazon->dslr", "caltech10->amazon", "dslr->caltech10", "dslr->webcam", "webcam->caltech10")
AIM = 45  # minutes of two cores
WORKERS = 2


def before(path: Path) -> dict[str, float]:
    """Recorded seconds (CPU where known, else wall clock) of all runs by method."""
    spent: dict[str, float] = defaultdict(float)
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        spent[row["method"]] += float(row["cpu_seconds"] or row["seconds"]) * int(row["n_runs"])
    return dict(spent)


def moved(now: dict[str, tuple[str, float]], then: dict[str, tuple[str, float]]) -> list[str]:
    """Methods whose mean accuracy (%) at the last checkpoint differs from the committed one, the largest first."""
    gaps: dict[str, list[float]] = defaultdict(list)
    for key, (label, value) in now.items():
        if key in then:
            gaps[label].append(100 * (value - then[key][1]))
    means = {label: (sum(of) / len(of), max(of, key=abs)) for label, of in gaps.items()}
    found = sorted((item for item in means.items() if item[1][0]), key=lambda item: -abs(item[1][0]))
    lines = [
        f"{len(means)} methods have committed records of the same runs; the mean of {len(means) - len(found)} is the "
        f"same, that of {sum(abs(mean) < 0.1 for _, (mean, _) in found)} differs by less than 0.1 points.\n",
        "| method | mean difference (points) | largest of a run |", "|---|---|---|",
        *(f"| {label} | {mean:+.2f} | {most:+.2f} |" for label, (mean, most) in found if abs(mean) >= 0.1),
    ]  # fmt: skip
    return lines


def accuracies(folder: Path) -> dict[str, tuple[str, float]]:
    """Label and accuracy at the last checkpoint of every run by its key."""
    return {
        record["key"]: (record["spec"]["label"], record["checkpoints"][-1]["target"]["accuracy"])
        for record in records(folder, Damage())
        if record["status"] == "ok"
    }


def run(pairs: Sequence[str], out: Path) -> tuple[float, float]:
    """CPU seconds of the command and its workers, and its wall clock."""
    began, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for pair in pairs:
        command = [sys.executable, "-m", "dazoo", "run", SUITE, "--out", str(out), "--tasks", pair, "--seeds", "1"]
        subprocess.run([*command, "--jobs", str(WORKERS), "--device", "cpu"], check=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime, time.perf_counter() - began


def page(pairs: Sequence[str], out: Path, cpu: float, wall: float, loads: tuple[float, float]) -> str:
    """The page, from the records of the sample."""
    recorded = before(BEFORE)
    fits: dict[str, float] = defaultdict(float)
    done = failed = 0
    for record in records(out, Damage()):
        done += 1
        failed += record["status"] != "ok"
        fits[record["spec"]["label"]] += record.get("cpu_seconds") or 0.0
    runs = len(make_plan(Suite.load(find_suite(SUITE))).specs)
    total = cpu * runs / done
    lines = [
        "# How long the whole table takes\n", (__doc__ or "").split("\n\n", 1)[1].strip() + "\n",
        "| runs of the sample | failed | CPU s | wall clock, s | runs of the table | whole table, CPU s | minutes "
        "of two cores | aim |", "|---|---|---|---|---|---|---|---|",
        f"| {done} | {failed} | {cpu:.0f} | {wall:.0f} | {runs} | {total:.0f} | {total / WORKERS / 60:.1f} | {AIM} |\n",
        "## The dearest methods\n",
        "CPU seconds of all fits of a method in the whole table, scaled as above; beside them what the committed "
        "records of the table say, of older machines, programs and loads (wall clock where no CPU was kept).\n",
        "| method | now | recorded |", "|---|---|---|",
    ]  # fmt: skip
    for name, spent in sorted(fits.items(), key=lambda item: -item[1])[:25]:
        old = f"{recorded[name]:.0f}" if name in recorded else "-"
        lines.append(f"| {name} | {spent * runs / done:.0f} | {old} |")
    lines += ["\n## The same table\n", *moved(accuracies(out), accuracies(BEFORE.parent))]
    here = machine("cpu")
    versions = ", ".join(f"{k} {v}" for k, v in here["versions"].items())
    lines.append(
        f"\nMachine: {here['machine']['processor']}, {os.cpu_count()} processors, load {loads[0]:.1f} before and "
        f"{loads[1]:.1f} after ({WORKERS} ours); {versions}.\n\nMade by `python -m benchmarks.table_time`."
    )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table_time", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", nargs="+", default=PAIRS, help="pairs of domains in the sample")
    parser.add_argument("--out", type=Path, default=Path("results/table_time"))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / SUITE
        first = os.getloadavg()[0]
        cpu, wall = run(options.pairs, out)
        text = page(options.pairs, out, cpu, wall, (first, os.getloadavg()[0]))
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "table_time.md", text)
    print(f"wrote {options.out / 'table_time.md'}")


if __name__ == "__main__":
    main()
