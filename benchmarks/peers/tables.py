"""Tables of a comparison: one row per case and pair as CSV, one row per case as Markdown."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.peers import why
from benchmarks.peers.measure import Machine, Row, Side

Gain = Callable[[Row], float]
HEADER = (
    "features", "peer", "case", "task", "steps", "dazoo_seconds", "peer_seconds", "speedup", "dazoo_accuracy",
    "peer_accuracy", "dazoo_failure", "peer_failure", "dazoo_grouped_seconds", "library_share", "counted",
    "load", "machine",
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
                 r.theirs.failure, f"{r.grouped:.4f}", f"{r.library:.3f}", int(r.counted),
                 f"{r.load:.1f}", r.machine]
            )  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    peers = " and ".join(dict.fromkeys(r.peer for r in rows))
    page.write_text(
        f"# dazoo and {peers} side by side: {part}\n\n{summary(rows)}\n\n"
        f"{why.section(folder) if part == 'shallow' else ''}{about}\n\n"
        f"Times are CPU seconds of one thread, fit and prediction. {_machines(rows, machine)} "
        f"Versions: {versions}. Made by `python -m benchmarks.peers {part}`; single pairs are in `{part}.csv`.\n"
    )
    return [table, page]


def _machines(rows: Sequence[Row], machine: Machine) -> str:
    """Where each table was measured, and under which load."""
    told = []
    for text in dict.fromkeys(r.machine or machine.text for r in rows):
        mine = [r for r in rows if (r.machine or machine.text) == text]
        tables = dict.fromkeys(f"{r.features}, {r.peer}" for r in mine if r.features)
        of = f" ({'; '.join(tables)})" if len(tables) and len(mine) < len(rows) else ""
        loads = [r.load for r in mine if math.isfinite(r.load)]
        load = f", load {min(loads):.0f} to {max(loads):.0f}" if loads else ""
        told.append(f"Machine{of}: {text}{load}.")
    return " ".join(told)


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
                float(line.get("dazoo_grouped_seconds") or "nan"), float(line.get("library_share") or "nan"),
                bool(int(line.get("counted") or 1)), float(line.get("load") or "nan"),
                line.get("machine") or "",
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


def group_speedup(row: Row) -> float:
    """The same where dazoo's run is one of a group on the pair that share work."""
    return row.theirs.seconds / row.grouped


def summary(rows: Sequence[Row]) -> str:
    """A Markdown table per kind of features and peer with one row per case, geometric means over the cases that both
    sides finish, and by name the cases in which the peer is faster or more accurate."""
    parts = list(dict.fromkeys((r.features, r.peer) for r in rows))
    if len(parts) == 1:
        return _table(rows)
    told: list[str] = []
    all_gains: dict[Gain, list[float]] = {speedup: [], group_speedup: []}
    for features, peer in parts:
        mine = [r for r in rows if (r.features, r.peer) == (features, peer)]
        told += [f"## {features}, {peer}", "", _table(mine), ""]
        for gain, found in all_gains.items():
            found += _gains(mine, gain).values()
    alone, grouped = all_gains.values()
    if _finite(grouped):
        told.append(
            f"Speed-up in a group, geometric mean over all tables: {_mean_of(grouped)} ({_finite(grouped)} rows)."
        )
    told.append(f"Speed-up, geometric mean over all tables: {_mean_of(alone)} ({_finite(alone)} rows).")
    return "\n".join(told)


def _finite(values: Sequence[float]) -> int:
    return sum(math.isfinite(v) for v in values)


def _mean_of(values: Sequence[float]) -> str:
    return _times(geometric_mean(values))


def _gains(rows: Sequence[Row], gain: Gain = speedup, counted: bool = True) -> dict[str, float]:
    """The speed-up of every single case that counts, or of those that do not, a mean over its pairs."""
    cases = dict.fromkeys(r.case for r in rows if r.counted == counted)
    return {c: geometric_mean([gain(r) for r in rows if r.case == c]) for c in cases}


def _table(rows: Sequence[Row]) -> str:
    steps = max(r.steps for r in rows) > 1
    unit = "ms per step" if steps else "s, all pairs"
    peer = rows[0].peer
    more = any(math.isfinite(r.grouped) for r in rows)
    head = ["case", "pairs", f"dazoo {unit}", f"{peer} {unit}", "speed-up"]
    head += ["dazoo in a group", "speed-up in a group", "in libraries"] if more else []
    head += ["dazoo accuracy", f"{peer} accuracy"]
    lines = [_line(head), "|" + "---|" * len(head)]
    for case in dict.fromkeys(r.case for r in rows):
        mine = [r for r in rows if r.case == case]
        ours, theirs = ([getattr(r, side) for r in mine] for side in ("ours", "theirs"))
        total = sum(r.steps for r in mine)
        cells = [case if mine[0].counted else f"{case} *", str(len(mine)), _time(ours, steps, total)]
        cells += [_time(theirs, steps, total), _mean_of([speedup(r) for r in mine])]
        if more:
            grouped = sum(r.grouped for r in mine)
            cells += [f"{grouped:.2f}" if math.isfinite(grouped) else "-", _mean_of([group_speedup(r) for r in mine])]
            shares = [r.library for r in mine if math.isfinite(r.library)]
            cells.append(f"{100 * sum(shares) / len(shares):.0f} %" if shares else "-")
        lines.append(_line([*cells, _accuracy(ours), _accuracy(theirs)]))
    gains, grouped_gains = _gains(rows), _gains(rows, group_speedup)
    lines.append("")
    if more:
        mean = _mean_of([*grouped_gains.values()])
        lines.append(f"Speed-up in a group, geometric mean over the cases both sides finish: {mean}.")
        lines.append(f"Slower than {peer} in a group: {_named(grouped_gains)}.")
    mean = _mean_of([*gains.values()])
    lines.append(f"Speed-up, geometric mean over the single cases both sides finish: {mean}.")
    lower = []
    for case in gains:
        both = [r for r in rows if r.case == case and not (r.ours.failure or r.theirs.failure)]
        gap = sum(r.ours.accuracy - r.theirs.accuracy for r in both) / len(both) if both else 0.0
        if gap < -0.05:
            lower.append(f"{case} ({gap:.2f})")
    lines.append(f"Slower than {peer}: {_named(gains)}. Less accurate: {', '.join(lower) or 'none'}.")
    others = _named(_gains(rows, counted=False))
    if others != "none":
        lines.append(f"Slower, of what is not the same problem (*): {others}.")
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _named(gains: dict[str, float]) -> str:
    return ", ".join(f"{case} ({gain:.2f}x)" for case, gain in gains.items() if gain < 1) or "none"


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
