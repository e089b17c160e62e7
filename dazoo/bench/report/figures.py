"""Figures of a report: critical differences of ranks, and accuracy against seconds with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dazoo.bench.analysis.significance import cliques, critical_difference, friedman
from dazoo.bench.report.canvas import Dot, Figure, Line, Word
from dazoo.bench.report.model import Report


def figures(made: Report) -> list[Figure]:
    """The figures of the leaderboard that the records allow."""
    return [f for f in (critical_differences(made), pareto(made)) if f is not None]


def critical_differences(made: Report) -> Figure | None:
    """Mean ranks of the methods that see no target label; bars join those within Nemenyi's critical difference.

    None below three methods or two tasks; methods without a number on some task are left out.
    """
    board = made.board
    rows = [r for r in board.rows if not r.mark and not math.isnan(r.rank)]
    if len(rows) < 3 or len(board.tasks) < 2:
        return None
    scores = np.array([[board.cells[r.label, t].mean for t in board.tasks] for r in rows])
    test = friedman(scores, board.higher_is_better)
    order = np.argsort(test.ranks, kind="stable")
    ranks, names = test.ranks[order], [rows[i].label for i in order]
    difference = critical_difference(test.k, test.n)
    # friedman decides whether any difference may be claimed at all
    groups = cliques(ranks, difference) if test.f_p < 0.05 else [(0, test.k - 1)]
    title = (
        f"Critical differences: mean ranks over {test.n} tasks (Friedman p = {test.f_p:.2g}, Nemenyi's critical "
        f"difference {difference:.2f} at 5 %); bars join methods that cannot be told apart"
    )
    return Figure("critical_difference", title, *_ranking(ranks, names, difference, groups))


def _ranking(
    ranks: np.ndarray, names: Sequence[str], difference: float, groups: Sequence[tuple[int, int]]
) -> tuple[float, float, tuple[Line | Dot | Word, ...]]:
    k, left, right = len(names), 200.0, 600.0
    half = (k + 1) // 2
    axis, step = 60.0, 20.0
    below = axis + 14 + 8 * len(groups)
    height = below + step * half + 20

    def x(rank: float) -> float:
        return left + (rank - 1) / (k - 1) * (right - left)

    end = min(x(1 + difference), right)
    parts: list[Line | Dot | Word] = [Line(left, axis, right, axis, "axis"), Line(left, 22, end, 22, "axis")]
    parts += [Line(a, 18, a, 26, "axis") for a in (left, end)]
    parts.append(Word(left, 13, f"critical difference {difference:.2f}", soft=True))
    for tick in range(1, k + 1, max(1, k // 10)):
        parts += [Line(x(tick), axis - 5, x(tick), axis, "axis"), Word(x(tick), axis - 9, str(tick), "middle", True)]
    for i, (rank, name) in enumerate(zip(ranks, names)):
        first = i < half
        y = below + step * (i if first else k - 1 - i) + 10
        side, anchor = (left - 10, "end") if first else (right + 10, "start")
        parts += [Line(x(rank), axis, x(rank), y), Line(x(rank), y, side, y)]
        parts.append(Word(side - 4 if first else side + 4, y + 4, f"{name} ({rank:.2f})", anchor))
    for i, (a, b) in enumerate(groups):
        y = axis + 10 + 8 * i
        parts.append(Line(x(ranks[a]) - 3, y, x(ranks[b]) + 3, y, "strong"))
    return 800.0, height, tuple(parts)


def pareto(made: Report) -> Figure | None:
    """The metric against seconds per run (logarithmic); full dots are on the Pareto front. None below two methods.

    The seconds are those of the leaderboard: of processors or of a device where records hold them.
    """
    board = made.board
    rows = [r for r in board.rows if not r.mark and not math.isnan(r.mean) and made.time.value(r) > 0]
    if len(rows) < 2:
        return None
    sign = 1.0 if board.higher_is_better else -1.0
    seconds = {r.label: made.time.value(r) for r in rows}
    front = front_of([seconds[r.label] for r in rows], [sign * r.mean for r in rows])
    left, right, top, bottom = 70.0, 680.0, 20.0, 340.0
    times = np.log10([seconds[r.label] for r in rows])
    values = np.array([r.mean for r in rows])

    def place(v: float, every: np.ndarray, low: float, high: float) -> float:
        span = float(np.ptp(every)) or 1.0
        return low + (0.06 + 0.88 * (v - float(every.min())) / span) * (high - low)

    parts: list[Line | Dot | Word] = [Line(left, top, left, bottom, "axis"), Line(left, bottom, right, bottom, "axis")]
    for v in np.linspace(float(values.min()), float(values.max()), 5 if np.ptp(values) else 1):
        y = place(v, values, bottom, top)
        parts += [Line(left - 5, y, left, y, "axis"), Word(left - 8, y + 4, made.show(float(v), 1), "end", True)]
    for t in np.linspace(float(times.min()), float(times.max()), 4 if np.ptp(times) else 1):
        x = place(t, times, left, right)
        parts += [Line(x, bottom, x, bottom + 5, "axis"), Word(x, bottom + 19, f"{10**t:.2g}", "middle", True)]
    parts.append(Word((left + right) / 2, bottom + 38, f"{made.time.head} (logarithmic)", "middle", True))
    parts.append(Word(left, top - 6, made.unit, "middle", True))
    spots = [(place(t, times, left, right), place(v, values, bottom, top)) for t, v in zip(times, values)]
    edge = sorted(spots[i] for i in front)
    parts += [Line(a, b, c, d) for (a, b), (c, d) in pairwise(edge)]
    for i, (row, (x, y)) in enumerate(zip(rows, spots)):
        parts.append(Dot(x, y, f"{row.label}: {made.show(row.mean)}, {seconds[row.label]:.3g} s", i in front))
        if i in front:
            parts.append(Word(x + 8, y - 6, row.label))
    title = f"{made.unit} against {made.time.head}; full dots are on the Pareto front"
    return Figure("pareto", title, 800.0, bottom + 50, tuple(parts))


def front_of(costs: Sequence[float], gains: Sequence[float]) -> set[int]:
    """Positions that no other position beats in one of both without losing in the other."""
    found, best = set(), -math.inf
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i], i)):
        if gains[i] > best:
            found.add(i)
            best = gains[i]
    return found
