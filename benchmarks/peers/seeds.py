"""Accuracies of the deep comparison over seeds, and what explains where they differ.

The same problems as ``deep`` at w = 64, with further seeds of initialisation and batches on both sides. The sides
differ in one more thing than that page's conversions say: dazoo multiplies samples by one number, so that the source's
root mean square is 1, and skada takes them as they are. The features here have a root mean square below 1, so at the
same rate of Adam the first layer's outputs and gradients are smaller on skada's side. The third column is skada given
the samples that dazoo's network sees, all else as before.

A difference is that of means over seeds, averaged over pairs; its standard error is that of the seeds on both sides.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.deep import CASES, epochs, ours, tasks, theirs
from benchmarks.peers.measure import Machine, timed
from dazoo.engine.build import input_scale

WIDTH = 64
SIDES = ("dazoo", "skada", "skada, scaled")


@dataclass(frozen=True)
class Seeded:
    """Accuracy (percent) of one side on one pair with one seed."""

    method: str
    task: str
    seed: int
    side: str
    accuracy: float


def compare(root: str | None, wanted: Sequence[str], seeds: int, report: Callable[[Seeded], None]) -> None:
    """Every case that is wanted on the four pairs with every seed, all sides."""
    for task in tasks(root):
        seen = task.seen()
        y = task.hidden().y
        assert y is not None
        scale = input_scale(seen)
        for case in [c for c in CASES if not wanted or c.method in wanted]:
            count, steps = epochs(case, seen)
            for seed in range(seeds):
                runs = (
                    ours(case, seen, WIDTH, steps, seed),
                    theirs(case, seen, WIDTH, count, seed),
                    theirs(case, seen, WIDTH, count, seed, scale),
                )
                for side, run in zip(SIDES, runs):
                    report(Seeded(case.method, task.name, seed, side, timed(run, y.numpy()).accuracy))


def difference(rows: Sequence[Seeded], method: str, other: str) -> tuple[float, float]:
    """dazoo less ``other``, and its standard error over seeds."""
    means, errors = [], []
    for task in dict.fromkeys(r.task for r in rows if r.method == method):
        sides = [
            [r.accuracy for r in rows if (r.method, r.task, r.side) == (method, task, s)] for s in (SIDES[0], other)
        ]
        means.append(statistics.mean(sides[0]) - statistics.mean(sides[1]))
        errors.append(sum(statistics.variance(v) / len(v) for v in sides if len(v) > 1))
    return statistics.mean(means), math.sqrt(sum(errors)) / len(errors)


def write(folder: Path, rows: Sequence[Seeded], machine: Machine) -> list[Path]:
    """``seeds.csv`` and ``seeds.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    table, page = folder / "seeds.csv", folder / "seeds.md"
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("method", "task", "seed", "side", "accuracy"))
        writer.writerows((r.method, r.task, r.seed, r.side, f"{r.accuracy:.2f}") for r in rows)
    lines = [
        "# dazoo and skada over seeds: deep", "",
        "| method | runs a side | dazoo | skada | skada, scaled | dazoo - skada | dazoo - skada, scaled |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        cells = [method, str(sum(r.side == SIDES[0] for r in mine))]
        cells += [f"{statistics.mean(r.accuracy for r in mine if r.side == side):.2f}" for side in SIDES]
        for other in SIDES[1:]:
            gap, error = difference(rows, method, other)
            cells.append(f"{gap:+.2f} ± {error:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    about = (__doc__ or "").strip()
    lines += ["", about, "", f"Versions: {versions}. Made by `python -m benchmarks.peers seeds`."]
    page.write_text("\n".join(lines) + "\n")
    return [table, page]


def read(path: Path) -> list[Seeded]:
    """The rows of a CSV that ``write`` wrote, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Seeded(r["method"], r["task"], int(r["seed"]), r["side"], float(r["accuracy"]))
            for r in csv.DictReader(file)
        ]
