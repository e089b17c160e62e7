"""Curves over the number of target labels: how much a method gains by each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from dazoo.bench.analysis.runs import Run
from dazoo.bench.metrics.registry import ASKED
from dazoo.bench.report.canvas import PALETTE, Dot, Figure, Line, Mark, Word
from dazoo.bench.report.label_curves import apart
from dazoo.bench.report.model import Report
from dazoo.data.names import dataset_of

Parts = list[Line | Dot | Mark | Word]
WIDE, HIGH, LEFT, TOP = 300.0, 260.0, 70.0, 56.0


@dataclass(frozen=True)
class Panel:
    """One chart: ``series`` of points (x, y) by method, best first, and ``levels`` of methods that are one number."""

    name: str
    series: dict[str, list[tuple[float, float]]]
    levels: dict[str, float] = field(default_factory=dict)


def asked(made: Report) -> list[Panel]:
    """The metric after every round of runs that ask for labels, a panel per dataset; means over tasks and seeds.

    x is the share of the budget that was asked for by then.
    """
    board, runs = made.board, dict[tuple[str, str], list[Run]]()
    for run in made.runs.runs:
        if run.ok and ASKED in run.metrics:
            runs.setdefault((run.label, run.task), []).append(run)
    panels = []
    for name in dict.fromkeys(dataset_of(t) for t in board.tasks):
        tasks, panel = [t for t in board.tasks if dataset_of(t) == name], Panel(name, {})
        for row in board.rows:
            cells = [board.cells.get((row.label, t)) for t in tasks]
            if any(c is None or not len(c.values) for c in cells):
                continue
            mine = [
                [r for r in runs.get((row.label, t), ()) if c is not None and r.trial == c.trial]
                for t, c in zip(tasks, cells)
            ]
            if not any(mine):
                panel.levels[row.label] = float(np.mean([c.mean for c in cells if c is not None]))
            elif all(mine) and len({len(r.metric(ASKED)) for group in mine for r in group}) == 1:
                x = [np.mean([r.metric(ASKED) / r.metric(ASKED)[-1] for r in group], 0) for group in mine]
                y = [np.mean([r.metric(board.metric) for r in group], 0) for group in mine]
                panel.series[row.label] = list(zip(np.mean(x, 0).tolist(), np.mean(y, 0).tolist()))
        if panel.series:
            panels.append(panel)
    return panels


def figure(made: Report) -> Figure | None:
    """The curves of ``asked`` beside each other on one axis of values; None where no run asks for labels."""
    panels = asked(made)
    if not panels:
        return None
    title = f"{made.unit} over the labels asked for, as a share of the budget; means over tasks and seeds"
    every = [y for p in panels for y in [*(v for s in p.series.values() for _, v in s), *p.levels.values()]]
    low, high = min(every), max(every)
    span = low, high if high > low else low + 1e-9
    parts: Parts = [Word(LEFT, TOP - 34, made.unit, "middle", True)]
    for v in np.linspace(*span, 5):
        y = TOP + HIGH * (1 - (float(v) - span[0]) / (span[1] - span[0]))
        parts += [Line(LEFT - 5, y, LEFT, y, "axis"), Word(LEFT - 8, y + 4, made.show(float(v), 1), "end", True)]
    names = 60 + 7.5 * max(len(label) for p in panels for label in (*p.series, *p.levels))
    for j, panel in enumerate(panels):
        parts += _panel(panel, LEFT + j * (WIDE + names), span)
    return Figure("asked_curves", title, LEFT + len(panels) * (WIDE + names), TOP + HIGH + 50, tuple(parts))


def _panel(panel: Panel, left: float, span: tuple[float, float]) -> Parts:
    def at(x: float, y: float) -> tuple[float, float]:
        return left + WIDE * x, TOP + HIGH * (1 - (y - span[0]) / (span[1] - span[0]))

    bottom, right = TOP + HIGH, left + WIDE
    parts: Parts = [
        Line(left, TOP, left, bottom, "axis"), Line(left, bottom, right, bottom, "axis"),
        Word(left + WIDE / 2, TOP - 14, panel.name, "middle"),
        Word(left + WIDE / 2, bottom + 36, "share of the budget asked for (%)", "middle", True),
    ]  # fmt: skip
    for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        spot = at(x, span[0])[0]
        parts += [
            Line(spot, bottom, spot, bottom + 5, "axis"),
            Word(spot, bottom + 18, f"{100 * x:.0f}", "middle", True),
        ]
    curves = {**panel.series, **{label: [(0.0, v), (1.0, v)] for label, v in panel.levels.items()}}
    ends: list[tuple[float, str, int]] = []
    for i, (label, points) in enumerate(curves.items()):
        shade = i % len(PALETTE) if label in panel.series else -1
        spots = [at(*p) for p in points]
        parts += [Line(*a, *b, "data" if shade >= 0 else "thin", shade) for a, b in pairwise(spots)]
        ends.append((spots[-1][1], label, shade))
    ends.sort()
    for (y, label, shade), place in zip(ends, apart([e[0] for e in ends], TOP, bottom)):
        parts += [Line(right + 3, y, right + 26, place, "thin", shade), Word(right + 30, place + 4, label)]
    return parts
