"""What reading records costs, beside an earlier version in the same run: ``python -m benchmarks.records --base DIR``.

Made-up runs of 20 checkpoints and 20 validators are written as lines, and compacted. Processes of their own

- read the keys of what is stored and build the report: from lines that are read for the first time, from lines that
  the cache knows, and from parts;
- are ``dazoo run`` on a suite of ten methods on the 30 tasks of ``digits``, all of whose runs are stored: the first
  call plans, reads and reports, the next ones have nothing to do.

CPU seconds are those of the whole process with everything it imports; memory is the largest resident set (Linux only).
``--base`` is a checkout of version 0.1.0, which reads the same lines, and for ``dazoo run`` its own.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer

CHECKPOINTS, VALIDATORS, TASKS, SEEDS = 20, 20, 50, 10
AIMS = {("report", 10_000): (6, 1), ("report", 100_000): (60, 3), ("run", 100_000): (3, None)}
"""CPU seconds and GB by what is done and for how many runs."""
METHODS = ("source_only", "dann", "cdan", "dan", "jan", "mcd", "bsp", "adda", "mdd", "deep_coral")
SUITE = """name: stored
dataset: digits
methods: [{methods}]
seeds: {seeds}
recipe: adatime
"""
IMPORTS = {
    "keys": ("from dazoo.bench.records.store import stored as f", "from dazoo.bench.store import stored as f"),
    "report": ("from dazoo.bench.report.build import report as f", "from dazoo.bench.report import report as f"),
    "run": ("from dazoo.cli import app", "from dazoo.cli import app"),
}
CALLS = {
    "keys": "f(sys.argv[1])",
    "report": "f(sys.argv[1])",
    "run": "app(['run', 'suite.yaml', '--out', '.'], standalone_mode=False)",
}
CHILD = """
import sys, time
{}
{}
spent = time.process_time()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss survives exec
print("COST", spent, int(peak.split()[1]) * 1024 / 1e9)
"""
HEAD = f"""from __future__ import annotations
import random
CHECKPOINTS, VALIDATORS = {CHECKPOINTS}, {VALIDATORS}
"""
PLANNED = """
try:
    from dazoo.bench.plan.plan import make_plan
    from dazoo.bench.plan.suite import Suite
    from dazoo.bench.records.store import Writer
except ImportError:
    from dazoo.bench.plan import make_plan
    from dazoo.bench.store import Writer
    from dazoo.bench.suite import Suite
draw, writer = random.Random(0), Writer(".")
made = [points(draw) for _ in range(200)]
for spec in make_plan(Suite.load("suite.yaml")).specs:
    body = {"variant": spec.variant, "started": "2024", "spec": spec.to_json(), "checkpoints": draw.choice(made)}
    writer.append(spec.key, "ok", body | {"seconds": 1.0})
writer.close()
"""


def points(draw: random.Random) -> list[dict[str, object]]:
    """Checkpoints of a made-up run."""
    names = [f"some_validator_{i:02d}" for i in range(VALIDATORS - 1)] + ["info_max"]
    return [
        {
            "step": j + 1,
            "fraction": (j + 1) / CHECKPOINTS,
            "scores": {n: draw.random() for n in names},
            "target": {"accuracy": 0.5 + j / 100 + draw.random() / 10},
        }
        for j in range(CHECKPOINTS)
    ]


def fill(folder: Path, runs: int) -> None:
    """Write made-up runs: methods x 50 tasks x 10 seeds."""
    draw, writer = random.Random(0), Writer(folder)
    for i in range(runs):
        method, task, seed = i // (TASKS * SEEDS), i // SEEDS % TASKS, i % SEEDS
        label = f"method_{method:03d}"
        spec = {"label": label, "method": label, "family": "f", "task": f"toy/a{task:02d}->b"}
        spec |= {"setting": "unsupervised", "seed": seed, "trial": 0}
        body = {"variant": "v", "started": "2024", "spec": spec, "checkpoints": points(draw), "seconds": 1.0}
        writer.append(f"{i:032x}", "ok", body)
    writer.close()


def child(code: Path, text: str, folder: Path) -> str:
    """What a process prints that runs ``text`` with the version of dazoo in ``code``."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(code), str(folder))), "COLUMNS": "200"}
    env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", text, str(folder)], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def cost(code: Path, what: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and GB of a process that does ``what`` with the version of dazoo in ``code``."""
    old = not (code / "dazoo" / "bench" / "records").is_dir()
    said = child(code, CHILD.format(IMPORTS[what][old], CALLS[what]), folder)
    seconds, memory = next(line for line in said.splitlines() if line.startswith("COST")).split()[1:]
    return float(seconds), float(memory)


def made_lines(work: Path, runs: int) -> Path:
    """A folder of lines, made where it is not there."""
    folder = work / f"lines-{runs}"
    if not folder.is_dir():
        fill(folder, runs)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return folder


def made_parts(work: Path, runs: int) -> Path:
    """The same, compacted."""
    folder = work / f"parts-{runs}"
    if not folder.is_dir():
        shutil.copytree(made_lines(work, runs), folder)
        compact(folder)
    return folder


def made_suite(work: Path, runs: int, code: Path, name: str) -> Path:
    """A folder with the stored runs of a suite, as the version of dazoo in ``code`` plans them."""
    folder = work / f"{name}-{runs}"
    if not folder.is_dir():
        folder.mkdir()
        seeds = max(1, runs // (30 * len(METHODS)))
        (folder / "suite.yaml").write_text(SUITE.format(methods=", ".join(METHODS), seeds=seeds))
        child(code, HEAD + inspect.getsource(points) + PLANNED, folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return folder


def size(folder: Path) -> float:
    return sum(p.stat().st_size for p in (folder / "records").iterdir()) / 1e6


def measure(work: Path, runs: int, base: Path | None) -> list[dict[str, object]]:
    """One row per thing that was measured."""
    here = Path(__file__).resolve().parent.parent
    rows: list[dict[str, object]] = []
    before: dict[str, tuple[float, float]] = {}

    def row(what: str, source: str, folder: Path, found: tuple[float, float]) -> None:
        aim = AIMS.get((what, runs), ("", "")) if source != "first call" else ("", "")
        made: dict[str, object] = {"runs": runs, "what": what, "from": source, "MB on disk": round(size(folder), 1)}
        made |= {
            "CPU seconds": round(found[0], 2),
            "aim (s)": aim[0],
            "GB": round(found[1], 2),
            "aim (GB)": aim[1] or "",
        }
        old = before.get(what)
        made |= {"CPU seconds of base": round(old[0], 2) if old else "", "GB of base": round(old[1], 2) if old else ""}
        made |= {"times faster": round(old[0] / found[0], 1) if old else ""}
        rows.append(made)
        print(made, flush=True)

    lines = made_lines(work, runs)
    if base is not None:
        for what in ("keys", "report"):
            before[what] = cost(base, what, lines)
    for what in ("keys", "report"):
        row(what, "lines", lines, cost(here, what, lines))
    for what in ("keys", "report"):
        row(what, "lines and cache", lines, cost(here, what, lines))
    parts = made_parts(work, runs)
    for what in ("keys", "report"):
        row(what, "parts", parts, cost(here, what, parts))
    if base is not None:
        old = made_suite(work, runs, base, "base")
        before["run"] = cost(base, "run", old)
    suite = made_suite(work, runs, here, "suite")
    row("run", "first call", suite, cost(here, "run", suite))
    time.sleep(3)  # a file that is younger might still change without its time telling
    cost(here, "run", suite)
    row("run", "nothing to do", suite, cost(here, "run", suite))
    return rows


def write(rows: list[dict[str, object]], out: Path) -> None:
    """The rows as ``records.csv`` and ``records.md``, beside those of other numbers of runs that are there."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "records.csv").is_file():
        with (out / "records.csv").open(newline="") as file:
            known = [row for row in csv.DictReader(file) if int(row["runs"]) not in {r["runs"] for r in rows}]
        rows = sorted([*known, *rows], key=lambda row: int(str(row["runs"])))
    with (out / "records.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["# What reading records costs", "", f"Runs of {CHECKPOINTS} checkpoints and {VALIDATORS} validators. "]
    lines[-1] += "CPU seconds of the whole process, its imports included; base: version 0.1.0, in the same run. "
    lines[-1] += "Made by `python -m benchmarks.records`, whose page says what is measured."
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    (out / "records.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[10_000])
    parser.add_argument("--base", type=Path, help="A checkout of the version to compare with.")
    parser.add_argument("--base-runs", type=int, default=10_000, help="The most runs that it is to read.")
    parser.add_argument("--work", type=Path, help="Keep the made-up runs there, and use those that are there.")
    parser.add_argument("--out", type=Path, help="Write records.csv and records.md there.")
    chosen = parser.parse_args()
    base = chosen.base and chosen.base.resolve()
    with tempfile.TemporaryDirectory() as made:
        work = (chosen.work or Path(made)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        rows = [row for runs in chosen.runs for row in measure(work, runs, base if runs <= chosen.base_runs else None)]
    if chosen.out is not None:
        write(rows, chosen.out)


if __name__ == "__main__":
    main()
