"""What reading records costs, beside an earlier version in the same run: ``python -m benchmarks.records --base DIR``.

Made-up runs of 20 checkpoints and 20 validators are written once, as lines, and compacted. Separate processes read the
keys of what is stored (as ``dazoo run`` does before it plans) and build the report. ``--base`` is a checkout of version
0.1.0, which reads the lines. CPU seconds are those after the import (of torch, mostly), memory is
the largest resident set (Linux only).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer

CHECKPOINTS, VALIDATORS, TASKS, SEEDS = 20, 20, 50, 10
IMPORTS = {
    "keys": ("from dazoo.bench.records.store import stored as f", "from dazoo.bench.store import stored as f"),
    "report": ("from dazoo.bench.report.build import report as f", "from dazoo.bench.report import report as f"),
}
CHILD = """
import sys, time
{}
began = time.process_time()
f(sys.argv[1])
spent = time.process_time() - began
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss survives exec
print("COST", spent, int(peak.split()[1]) * 1024 / 1e9)
"""


def fill(folder: Path, runs: int) -> None:
    """Write made-up runs: methods x 50 tasks x 10 seeds."""
    draw, writer = random.Random(0), Writer(folder)
    names = [f"some_validator_{i:02d}" for i in range(VALIDATORS - 1)] + ["info_max"]
    for i in range(runs):
        method, task, seed = i // (TASKS * SEEDS), i // SEEDS % TASKS, i % SEEDS
        points = [
            {
                "step": j + 1,
                "fraction": (j + 1) / CHECKPOINTS,
                "scores": {n: draw.random() for n in names},
                "target": {"accuracy": 0.5 + j / 100 + draw.random() / 10},
            }
            for j in range(CHECKPOINTS)
        ]
        label = f"method_{method:03d}"
        spec = {"label": label, "method": label, "family": "f", "task": f"toy/a{task:02d}->b"}
        spec |= {"setting": "unsupervised", "seed": seed, "trial": 0}
        body = {"variant": "v", "started": "2024", "spec": spec, "checkpoints": points, "seconds": 1.0}
        writer.append(f"{i:032x}", "ok", body)
    writer.close()


def cost(code: Path, what: str, folder: Path) -> tuple[float, float]:
    """CPU seconds and GB of a process that does ``what`` with the version of dazoo in ``code``."""
    old = not (code / "dazoo" / "bench" / "records").is_dir()
    env = os.environ | {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(IMPORTS[what][old]), str(folder)],
        cwd=folder, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, memory = next(line for line in done.stdout.splitlines() if line.startswith("COST")).split()[1:]
    return float(seconds), float(memory)


def size(folder: Path) -> float:
    return sum(p.stat().st_size for p in (folder / "records").iterdir()) / 1e6


def measure(runs: int, base: Path | None) -> list[dict[str, object]]:
    """One row per thing that was measured."""
    here = Path(__file__).parent.parent
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fill(folder, runs)
        before: dict[str, tuple[float, float]] = {}
        for form in ("lines", "parts"):
            if form == "parts":
                compact(folder)
            for what in IMPORTS:
                seconds, memory = cost(here, what, folder)
                row: dict[str, object] = {
                    "runs": runs,
                    "what": what,
                    "from": form,
                    "MB on disk": round(size(folder), 1),
                }
                row |= {"CPU seconds": round(seconds, 2), "GB": round(memory, 2)}
                if base is not None:
                    if form == "lines":
                        before[what] = cost(base, what, folder)
                    row |= {"CPU ratio to base": round(before[what][0] / seconds, 2)}
                    row |= {"memory ratio to base": round(before[what][1] / memory, 2)}
                rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--base", type=Path, help="A checkout of the version to compare with.")
    chosen = parser.parse_args()
    for row in measure(chosen.runs, chosen.base and chosen.base.resolve()):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
