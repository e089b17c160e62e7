"""Tables of a comparison: one row per case and pair as CSV, one row per case as Markdown."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.measure import Machine, Row, Side

HEADER = (
    "case", "task", "steps", "dazoo_seconds", "skada_seconds", "speedup", "dazoo_accuracy", "skada_accuracy",
    "dazoo_failure", "skada_failure",
)  # fmt: skip


def write(folder: Path, part: str, rows: Sequence[Row], machine: Machine, about: str) -> list[Path]:
    """``<part>.csv`` and ``<part>.md`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    table, page = folder / f"{part}.csv", folder / f"{part}.md"
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for r in rows:
            writer.writerow(
                [r.case, r.task, r.steps, *(f"{s.seconds:.4f}" for s in (r.ours, r.theirs)), f"{speedup(r):.2f}",
                 *(f"{s.accuracy:.2f}" for s in (r.ours, r.theirs)), r.ours.failure, r.theirs.failure]
            )  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    page.write_text(
        f"# dazoo and skada side by side: {part}\n\n{summary(rows)}\n\n{about}\n\n"
        f"Times are CPU seconds of one thread, fit and prediction. Machine: {machine.text}. Versions: {versions}. "
        f"Made by `python -m benchmarks.peers {part}`; "
        f"single pairs are in `{part}.csv`.\n"
    )
    return [table, page]


def speedup(row: Row) -> float:
    """Seconds of skada over seconds of dazoo; NaN where a side failed."""
    return row.theirs.seconds / row.ours.seconds


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean(log)) of the finite values; NaN if there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return math.exp(sum(map(math.log, finite)) / len(finite)) if finite else float("nan")


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table with one row per case, and the geometric mean over the cases that both sides finish."""
    steps = max(r.steps for r in rows) > 1
    unit = "ms per step" if steps else "s, all pairs"
    lines = [
        f"| case | pairs | dazoo {unit} | skada {unit} | speed-up | dazoo accuracy | skada accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    per_case = []
    for case in dict.fromkeys(r.case for r in rows):
        mine = [r for r in rows if r.case == case]
        gain = geometric_mean([speedup(r) for r in mine])
        if not case.startswith("these "):
            per_case.append(gain)
        ours, theirs = ([getattr(r, side) for r in mine] for side in ("ours", "theirs"))
        total = sum(r.steps for r in mine)
        lines.append(
            f"| {case} | {len(mine)} | {_time(ours, steps, total)} | {_time(theirs, steps, total)} | {_times(gain)} "
            f"| {_accuracy(ours)} | {_accuracy(theirs)} |"
        )
    lines += [
        "",
        f"Speed-up, geometric mean over the single cases both sides finish: {_times(geometric_mean(per_case))}.",
    ]
    return "\n".join(lines)


def _time(sides: Sequence[Side], steps: bool, total: int) -> str:
    if any(s.failure for s in sides):
        return "-"
    seconds = sum(s.seconds for s in sides)
    return f"{1000 * seconds / total:.2f}" if steps else f"{seconds:.2f}"


def _times(gain: float) -> str:
    return "-" if math.isnan(gain) else f"{gain:.1f}x"


def _accuracy(sides: Sequence[Side]) -> str:
    failed = sum(bool(s.failure) for s in sides)
    if failed:
        first = next(s.failure for s in sides if s.failure)
        return f"failed on {failed} of {len(sides)} ({first})"
    return f"{sum(s.accuracy for s in sides) / len(sides):.2f}"
