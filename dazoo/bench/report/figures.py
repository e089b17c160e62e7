"""Figures of a report: critical differences of ranks, and accuracy against seconds with the Pareto front.

A figure is a few lines, dots and words in its own units, drawn as SVG for the page without any library, and as PDF and
PNG by Matplotlib where that is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import numpy as np

from dazoo.bench.analysis.significance import cliques, critical_difference, friedman
from dazoo.bench.report.model import Report
from dazoo.core.files import opened

META: dict[str, None] = {"CreationDate": None}
ANCHORS = {"start": "left", "middle": "center", "end": "right"}
STYLES = {"axis": ("black", 1.0), "thin": ("gray", 0.8), "strong": ("black", 3.0), "data": ("#0b5cad", 1.6)}
PALETTE = (
    "#cc6677", "#332288", "#b8a22b", "#117733", "#4aa8d8", "#882255", "#44aa99", "#777711", "#aa4499", "#777777",
)  # fmt: skip
"""Ten colours after Paul Tol's muted scheme, apart for colour-blind readers too; further classes share the last."""


@dataclass(frozen=True)
class Line:
    """A straight line; ``kind`` is axis, thin, strong or data."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str = "thin"


@dataclass(frozen=True)
class Dot:
    """A dot with a title to hover; those that are not ``full`` are rings."""

    x: float
    y: float
    title: str
    full: bool = True


@dataclass(frozen=True)
class Mark:
    """One sample of a scatter: a ring for the source, a triangle for the target; ``shade`` numbers its colour."""

    x: float
    y: float
    shade: int
    target: bool


@dataclass(frozen=True)
class Word:
    """Text with its baseline at (x, y)."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    soft: bool = False


@dataclass(frozen=True)
class Figure:
    """``name`` is the stem of its files, ``title`` what it shows, in one sentence."""

    name: str
    title: str
    width: float
    height: float
    parts: tuple[Line | Dot | Mark | Word, ...]

    def svg(self) -> str:
        """Inline SVG that takes its colours from the page."""
        body = "".join(_svg(p) for p in self.parts)
        return (
            f'<svg class="figure" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.title)}">{body}</svg>'
        )

    def save(self, folder: Path) -> list[Path]:
        """Write PDF and PNG; nothing where Matplotlib is not installed. ``OSError`` where one cannot be written; the
        other one is."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure as Canvas
        except ImportError:
            return []
        drawn = Canvas(figsize=(self.width / 100, self.height / 100))
        FigureCanvasAgg(drawn)
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for p in self.parts:
            if isinstance(p, Line):
                style = STYLES[p.kind]
                axes.plot([p.x1, p.x2], [p.y1, p.y2], color=style[0], linewidth=style[1], solid_capstyle="butt")
            elif isinstance(p, Dot):
                face = "#0b5cad" if p.full else "white"
                axes.plot([p.x], [p.y], "o", markersize=6, color="#0b5cad", markerfacecolor=face)
            elif isinstance(p, Mark):
                color = PALETTE[p.shade % len(PALETTE)]
                face = color if p.target else "none"
                axes.plot([p.x], [p.y], "^" if p.target else "o", ms=4, color=color, markerfacecolor=face, mew=0.8)
            else:
                color = "#54616f" if p.soft else "black"
                # a dollar sign would start a formula
                text = p.text.replace("$", r"\$")
                axes.text(p.x, p.y, text, ha=ANCHORS[p.anchor], va="baseline", fontsize=9, color=color)
        failed: OSError | None = None
        paths = [folder / f"{self.name}.{kind}" for kind in ("pdf", "png")]
        for path in paths:
            kind = path.suffix[1:]
            try:
                with opened(path) as file:
                    drawn.savefig(file, format=kind, dpi=200, metadata=META if kind == "pdf" else None)
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return paths


def _svg(p: Line | Dot | Mark | Word) -> str:
    if isinstance(p, Line):
        return f'<line class="{p.kind}" x1="{p.x1:.1f}" y1="{p.y1:.1f}" x2="{p.x2:.1f}" y2="{p.y2:.1f}"/>'
    if isinstance(p, Dot):
        kind = "full" if p.full else "ring"
        return f'<circle class="{kind}" cx="{p.x:.1f}" cy="{p.y:.1f}" r="5"><title>{escape(p.title)}</title></circle>'
    if isinstance(p, Mark):
        shape = (
            f"M{p.x:.1f} {p.y - 4:.1f}l4 7h-8z" if p.target else f"M{p.x - 3:.1f} {p.y:.1f}a3 3 0 1 0 6 0a3 3 0 1 0-6 0"
        )
        return f'<path class="{"target" if p.target else "source"} c{p.shade}" d="{shape}"/>'
    soft = ' class="soft"' if p.soft else ""
    return f'<text{soft} x="{p.x:.1f}" y="{p.y:.1f}" text-anchor="{p.anchor}">{escape(p.text)}</text>'


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
