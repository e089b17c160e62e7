"""Learning curves of the selected runs: loss terms over steps, scores and the target metric over checkpoints.

Only records of methods that are trained by gradients hold curves. The page gets those of at most ``LIMIT`` runs, each
curve thinned to at most ``POINTS`` points, so that it stays small; the records keep all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dazoo.bench.analysis.runs import UNREADABLE, Run
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.records.store import records
from dazoo.bench.records.thin import POINTS, spread
from dazoo.bench.report.canvas import Dot, Figure, Line, Word
from dazoo.bench.report.model import Report
from dazoo.bench.report.origins import Pool
from dazoo.bench.report.provenance import short

LIMIT = 320
TOP = 3
Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Learned:
    """The curves of one selected run.

    Attributes:
        point: the selected checkpoint. steps: of the checkpoints. terms: thinned loss terms by name, (step, value).
    """

    run: Run
    point: int
    steps: list[int]
    terms: dict[str, Curve]


@dataclass(frozen=True)
class Curves:
    """``shown`` are those read, best method first, of ``total`` selected runs that hold curves."""

    shown: list[Learned]
    total: int


def curves_of(made: Report, limit: int = LIMIT) -> Curves:
    """The curves of the selected runs: first every method's first task with its first seed, then the next ones."""
    board = made.board
    models = {(r.label, r.task, r.trial, r.seed): r for r in made.runs.runs if r.ok}
    turns: list[tuple[int, int, int, Run, int]] = []
    for i, row in enumerate(board.rows):
        for j, task in enumerate(board.tasks):
            cell = board.cells.get((row.label, task))
            for k, (seed, point) in enumerate(zip(cell.seeds, cell.picks) if cell is not None else ()):
                run = models[row.label, task, cell.trial, seed]  # type: ignore[union-attr]
                if made.origins.runs[run.key].curved:
                    turns.append((k, j, i, run, point))
    turns.sort(key=lambda t: t[:3])
    chosen = {run.key: (run, point) for *_, run, point in turns[:limit]}
    found: dict[str, Learned] = {}
    for record in records(made.folder, only=chosen) if chosen else ():
        if record["status"] == "ok":
            key = record["key"]
            with suppress(*UNREADABLE):  # damaged curves
                terms = {n: thin(c) for n, c in (record.get("curves") or {}).items() if len(c) > 1}
                found[key] = Learned(*chosen[key], [p["step"] for p in record["checkpoints"]], terms)
    place = {r.label: i for i, r in enumerate(board.rows)}
    shown = sorted(found.values(), key=lambda c: (place[c.run.label], c.run.task, c.run.seed))
    return Curves(shown, len(turns))


def thin(curve: Sequence[Sequence[float | None]], most: int = POINTS) -> Curve:
    """At most ``most`` points of a curve, evenly spread, first and last among them; NaN where a value is missing."""
    keep = spread(len(curve), most)
    return [(float(curve[i][0] or 0), math.nan if (v := curve[i][1]) is None else float(v)) for i in keep]


def payload(made: Report, found: Curves) -> dict[str, Any]:
    """What the page draws from: per run ``[label, task, seed, point, steps, terms, scores, target]``."""
    tasks = {t: i for i, t in enumerate(made.board.tasks)}
    grids, runs = Pool(), []
    for c in found.shown:
        terms = {
            n: [grids.put([int(s) for s, _ in curve]), [short(v, 3) for _, v in curve]] for n, curve in c.terms.items()
        }
        scores = {n: [short(v, 4) for v in c.run.score(n)] for n in c.run.validators}
        target = [short(v, 4) for v in c.run.metric(made.board.metric)]
        place = [c.run.label, tasks[c.run.task], c.run.seed, c.point, grids.put(c.steps)]
        runs.append([*place, terms, scores, target])
    return {"runs": runs, "grids": grids.values, "rule": made.board.rule, "total": found.total}


# -- the figure for papers ------------------------------------------------------------------------------------------


def figure(made: Report, found: Curves) -> Figure | None:
    """Small charts of the best methods that hold curves: a row per method, its first task with its first seed."""
    best: dict[str, Learned] = {}
    for c in found.shown:
        best.setdefault(c.run.label, c)
    rows = list(best.values())[:TOP]
    if not rows:
        return None
    width, height, gap, top = 210.0, 96.0, 64.0, 40.0
    parts: list[Line | Dot | Word] = []
    longest = 0
    for i, c in enumerate(rows):
        y = top + i * (height + gap) + 22
        parts.append(Word(16, y - 24, f"{c.run.label}, {made.board.short(c.run.task)}, seed {c.run.seed}"))
        charts = _charts(made, c)
        longest = max(longest, len(charts))
        for j, (name, curve) in enumerate(charts):
            parts += _chart(56 + j * (width + 50), y, width, height, name, curve, float(c.steps[c.point]))
    title = "Learning curves: loss terms over steps, validators and the target metric (target labels) over checkpoints"
    title += "; the vertical line is the selected checkpoint"
    return Figure(
        "learning_curves", title, 76 + longest * (width + 50), top + len(rows) * (height + gap) + 8, tuple(parts)
    )


def _charts(made: Report, c: Learned) -> list[tuple[str, Curve]]:
    """Up to three loss terms, the rule's score and the target metric."""
    rule = made.board.rule
    charts = [(f"loss: {n}", curve) for n, curve in list(c.terms.items())[:3]]
    if rule not in (LAST, ORACLE_RULE) and rule in c.run.validators:
        charts.append((f"{rule} (no labels)", list(zip(map(float, c.steps), map(float, c.run.score(rule))))))
    target = [float(v) for v in c.run.metric(made.board.metric)]
    return [
        *charts,
        (
            made.board.metric + ("" if made.board.label_free else " (target labels)"),
            list(zip(map(float, c.steps), target)),
        ),
    ]


def _chart(
    x: float, y: float, width: float, height: float, name: str, curve: Curve, chosen: float
) -> list[Line | Dot | Word]:
    known = [v for _, v in curve if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    last = max((s for s, _ in curve), default=1.0) or 1.0
    parts: list[Line | Dot | Word] = [
        Line(x, y, x, y + height, "axis"),
        Line(x, y + height, x + width, y + height, "axis"),
        Word(x, y - 6, name),
        Word(x - 4, y + 9, f"{high:.3g}", "end", True),
        Word(x - 4, y + height, f"{low:.3g}", "end", True),
        Word(x + width, y + height + 14, f"{last:g}", "end", True),
    ]

    def at(step: float, value: float) -> tuple[float, float]:
        share = 0.5 if high == low else (value - low) / (high - low)
        return x + width * step / last, y + height * (1 - share)

    mark = x + width * min(chosen / last, 1.0)
    parts.append(Line(mark, y, mark, y + height))
    for a, b in pairwise(curve):
        if math.isfinite(a[1]) and math.isfinite(b[1]):
            parts.append(Line(*at(*a), *at(*b), "data"))
    return parts
