"""Figures of a report: critical differences of ranks, and accuracy against seconds with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dazoo.bench.analysis.significance import cliques, critical_difference, friedman
from dazoo.bench.report import asked_curves
from dazoo.bench.report.canvas import Dot, Figure, Line, Word
from dazoo.bench.report.model import Report

CROWD = 40
"""Methods that a diagram of ranks has room for."""


def figures(made: Report) -> list[Figure]:
    """The figures of the leaderboard that the records allow."""
    return [f for f in (asked_curves.figure(made), critical_differences(made), pareto(made)) if f is not None]


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
    if test.k > CROWD:
        title += f"; the first {CROWD} of {test.k} are drawn"
        groups = [(a, min(b, CROWD - 1)) for a, b in groups if a < CROWD - 1]
        groups = [(a, b) for i, (a, b) in enumerate(groups) if not i or b > groups[i - 1][1]]
    return Figure("critical_difference", title, *_ranking(ranks[:CROWD], names[:CROWD], difference, groups))


def _ranking(
    ranks: np.ndarray, names: Sequence[str], difference: float, groups: Sequence[tuple[int, int]]
) -> tuple[float, float, tuple[Line | Dot | Word, ...]]:
    k, side = len(names), max(200.0, 30 + 7 * max(len(f"{n} (99.99)") for n in names))
    left, right, top = side, side + 400, max(float(k), math.ceil(ranks[-1]))
    half = (k + 1) // 2
    axis, step = 60.0, 20.0
    below = axis + 14 + 8 * len(groups)
    height = below + step * half + 20

    def x(rank: float) -> float:
        return left + (rank - 1) / (top - 1) * (right - left)

    end = min(x(1 + difference), right)
    parts: list[Line | Dot | Word] = [Line(left, axis, right, axis, "axis"), Line(left, 22, end, 22, "axis")]
    parts += [Line(a, 18, a, 26, "axis") for a in (left, end)]
    parts.append(Word(left, 13, f"critical difference {difference:.2f}", soft=True))
    for tick in range(1, int(top) + 1, max(1, int(top) // 10)):
        parts += [Line(x(tick), axis - 5, x(tick), axis, "axis"), Word(x(tick), axis - 9, str(tick), "middle", True)]
    for i, (rank, name) in enumerate(zip(ranks, names)):
        first = i < half
        y = below + step * (i if first else k - 1 - i) + 10
        edge, anchor = (left - 10, "end") if first else (right + 10, "start")
        parts += [Line(x(rank), axis, x(rank), y), Line(x(rank), y, edge, y)]
        parts.append(Word(edge - 4 if first else edge + 4, y + 4, f"{name} ({rank:.2f})", anchor))
    for i, (a, b) in enumerate(groups):
        y = axis + 10 + 8 * i
        parts.append(Line(x(ranks[a]) - 3, y, x(ranks[b]) + 3, y, "strong"))
    return right + side, height, tuple(parts)


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
    values, beyond = _without_outliers(np.array([r.mean for r in rows]), sign)

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
    named = [(*spots[i], rows[i].label) for i in sorted(front, key=lambda i: -sign * rows[i].mean)]
    parts += _beside(named, spots, right + 110)
    title = f"{made.unit} against {made.time.head}; full dots are on the Pareto front"
    title += f"; {beyond} worse than the axis reaches are drawn at its end" if beyond else ""
    return Figure("pareto", title, 800.0, bottom + 50, tuple(parts))


def _without_outliers(values: np.ndarray, sign: float) -> tuple[np.ndarray, int]:
    """Values with those far worse than the worst quarter put at the fence, three quartile ranges below it."""
    low, high = np.quantile(sign * values, [0.25, 0.75])
    fence = low - 3 * max(high - low, 1e-12)
    beyond = int((sign * values < fence).sum()) if len(values) > 10 else 0
    return sign * np.maximum(sign * values, fence) if beyond else values, beyond


def _beside(dots: Sequence[tuple[float, float, str]], spots: Sequence[tuple[float, float]], right: float) -> list[Word]:
    """Names beside dots where there is room for them, those of earlier dots first; the others are left out."""
    found: list[Word] = []
    line, letter = 15.0, 7.0
    boxes = [(x - 6, x + 6, y - 6, y + 6) for x, y in spots]
    for x, y, text in dots:
        width = letter * len(text)
        places = ((x + 8, y - 6, "start"), (x - 8, y - 6, "end"), (x + 8, y + 16, "start"), (x - 8, y + 16, "end"))
        for left, base, anchor in places:
            a = left if anchor == "start" else left - width
            box = (a, a + width, base - line, base)
            if a >= 70 and a + width <= right and not any(_overlap(box, other) for other in boxes):
                boxes.append(box)
                found.append(Word(left, base, text, anchor))
                break
    return found


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def front_of(costs: Sequence[float], gains: Sequence[float]) -> set[int]:
    """Positions that no other position beats in one of both without losing in the other."""
    found, best = set(), -math.inf
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -gains[i], i)):
        if gains[i] > best:
            found.add(i)
            best = gains[i]
    return found
