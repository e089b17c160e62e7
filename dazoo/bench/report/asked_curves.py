"""Curves over the number of target labels: how much a method gains by each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from dazoo.bench.metrics.registry import ASKED
from dazoo.bench.report.canvas import PALETTE, Figure, Line, Mark, Word
from dazoo.bench.report.model import Report
from dazoo.data.names import dataset_of

Parts = list[Line | Mark | Word]


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
    board, runs = made.board, {}
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
    """The curves of ``asked``; None where no run asks for labels."""
    panels = asked(made)
    if not panels:
        return None
    title = f"{made.unit} over the labels asked for, as a share of the budget, on the rows that were not asked for"
    return drawn("asked_curves", title, panels, made)


def drawn(name: str, title: str, panels: Sequence[Panel], made: Report) -> Figure:
    """Panels beside each other on one axis of values, with one legend; methods beyond the colours share the last."""
    every = [y for p in panels for y in [*(v for s in p.series.values() for _, v in s), *p.levels.values()]]
    low, high = min(every), max(every)
    width, height, left, top, gap = 300.0, 260.0, 70.0, 40.0, 40.0
    labels = list(dict.fromkeys(label for p in panels for label in p.series))
    parts: Parts = []
    for j, panel in enumerate(panels):
        x0 = left + j * (width + gap)
        parts += _panel(panel, labels, (x0, top, width, height), (low, high))
        if j == 0:
            for v in np.linspace(low, high, 5 if high > low else 1):
                y = top + height * (1 - (v - low) / ((high - low) or 1.0))
                parts += [Line(x0 - 5, y, x0, y, "axis"), Word(x0 - 8, y + 4, made.show(float(v), 1), "end", True)]
    right = left + len(panels) * (width + gap)
    for i, label in enumerate(labels):
        y = top + 10 + 18 * i
        parts += [_mark(right + 6, y, i), Word(right + 18, y + 4, label)]
    room = 40 + 7.5 * max(map(len, labels))
    return Figure(name, title, right + room, top + max(height, 18.0 * len(labels)) + 46, tuple(parts))


def _panel(
    panel: Panel, labels: Sequence[str], box: tuple[float, float, float, float], span: tuple[float, float]
) -> Parts:
    x0, y0, width, height = box
    ends = [x for s in panel.series.values() for x, _ in s]
    first, last = min(ends), max(ends)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            x0 + width * (x - first) / ((last - first) or 1.0),
            y0 + height * (1 - (y - span[0]) / ((span[1] - span[0]) or 1.0)),
        )

    parts: Parts = [
        Line(x0, y0, x0, y0 + height, "axis"),
        Line(x0, y0 + height, x0 + width, y0 + height, "axis"),
        Word(x0, y0 - 16, panel.name),
        Word(x0, y0 + height + 16, f"{first:.3g}", "middle", True),
        Word(x0 + width, y0 + height + 16, f"{last:.3g}", "middle", True),
    ]
    for label, value in panel.levels.items():
        y = at(first, value)[1]
        parts += [Line(x0, y, x0 + width, y), Word(x0 + width, y - 4, label, "end", True)]
    for label, points in panel.series.items():
        i = min(labels.index(label), len(PALETTE) - 1)
        spots = [at(*p) for p in points]
        parts += [Line(*a, *b) for a, b in pairwise(spots)]
        parts += [_mark(x, y, i) for x, y in spots]
    return parts


def _mark(x: float, y: float, i: int) -> Mark:
    return Mark(x, y, min(i, len(PALETTE) - 1), i % 2 == 1)
