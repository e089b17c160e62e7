"""Tables of a comparison: one row per case and pair as CSV, one row per case as Markdown."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.measure import Machine, Row, Side

HEADER = (
    "features", "peer", "case", "task", "steps", "dazoo_seconds", "peer_seconds", "speedup", "dazoo_accuracy",
    "peer_accuracy", "dazoo_failure", "peer_failure",
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
                [r.features, r.peer, r.case, r.task, r.steps, *(f"{s.seconds:.4f}" for s in (r.ours, r.theirs)),
                 f"{speedup(r):.2f}", *(f"{s.accuracy:.2f}" for s in (r.ours, r.theirs)), r.ours.failure,
                 r.theirs.failure]
            )  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    peers = " and ".join(dict.fromkeys(r.peer for r in rows))
    page.write_text(
        f"# dazoo and {peers} side by side: {part}\n\n{summary(rows)}\n\n{about}\n\n"
        f"Times are CPU seconds of one thread, fit and prediction. Machine: {machine.text}. Versions: {versions}. "
        f"Made by `python -m benchmarks.peers {part}`; "
        f"single pairs are in `{part}.csv`.\n"
    )
    return [table, page]


def read(path: Path) -> list[Row]:
    """The rows of a CSV that ``write`` wrote, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(
                line["case"], line["task"], *(
                    Side(float(line[f"{side}_seconds"]), float(line[f"{side}_accuracy"]), line[f"{side}_failure"])
                    for side in ("dazoo", "peer")
                ), int(line["steps"]), line["peer"], line["features"],
            )
            for line in csv.DictReader(file)
        ]  # fmt: skip


def speedup(row: Row) -> float:
    """Seconds of the peer over seconds of dazoo; NaN where a side failed."""
    return row.theirs.seconds / row.ours.seconds


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean(log)) of the finite values; NaN if there is none."""
    finite = [v for v in values if math.isfinite(v)]
    return math.exp(sum(map(math.log, finite)) / len(finite)) if finite else float("nan")


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table per kind of features and peer with one row per case, the geometric mean over the cases that both
    sides finish, and by name the cases in which the peer is faster or more accurate."""
    parts = list(dict.fromkeys((r.features, r.peer) for r in rows))
    if len(parts) == 1:
        return _table(rows)
    told, gains = [], []
    for features, peer in parts:
        mine = [r for r in rows if (r.features, r.peer) == (features, peer)]
        told += [f"## {features}, {peer}", "", _table(mine), ""]
        gains += _gains(mine).values()
    told.append(f"Speed-up, geometric mean over all tables: {_times(geometric_mean(gains))} ({_finite(gains)} rows).")
    return "\n".join(told)


def _finite(values: Sequence[float]) -> int:
    return sum(math.isfinite(v) for v in values)


def _gains(rows: Sequence[Row]) -> dict[str, float]:
    """The speed-up of every single case, a mean over its pairs."""
    cases = dict.fromkeys(r.case for r in rows if not is_sum(r))
    return {c: geometric_mean([speedup(r) for r in rows if r.case == c]) for c in cases}


def is_sum(row: Row) -> bool:
    """Whether the row stands for several cases in a row."""
    return row.case.endswith(", sharing")


def _table(rows: Sequence[Row]) -> str:
    steps = max(r.steps for r in rows) > 1
    unit = "ms per step" if steps else "s, all pairs"
    peer = rows[0].peer
    lines = [
        f"| case | pairs | dazoo {unit} | {peer} {unit} | speed-up | dazoo accuracy | {peer} accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(r.case for r in rows):
        mine = [r for r in rows if r.case == case]
        gain = geometric_mean([speedup(r) for r in mine])
        ours, theirs = ([getattr(r, side) for r in mine] for side in ("ours", "theirs"))
        total = sum(r.steps for r in mine)
        lines.append(
            f"| {case} | {len(mine)} | {_time(ours, steps, total)} | {_time(theirs, steps, total)} | {_times(gain)} "
            f"| {_accuracy(ours)} | {_accuracy(theirs)} |"
        )
    gains = _gains(rows)
    mean = _times(geometric_mean([*gains.values()]))
    lines += ["", f"Speed-up, geometric mean over the single cases both sides finish: {mean}."]
    slower = [f"{c} ({g:.2f}x)" for c, g in gains.items() if g < 1]
    lower = []
    for case in gains:
        both = [r for r in rows if r.case == case and not (r.ours.failure or r.theirs.failure)]
        gap = sum(r.ours.accuracy - r.theirs.accuracy for r in both) / len(both) if both else 0.0
        if gap < -0.05:
            lower.append(f"{case} ({gap:.2f})")
    lines.append(f"Slower than {peer}: {', '.join(slower) or 'none'}. Less accurate: {', '.join(lower) or 'none'}.")
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
