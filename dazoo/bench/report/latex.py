"""The table of a report as papers print it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.compare import compare
from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.significance import LEVEL, holm, signed_ranks
from dazoo.bench.analysis.table import Row
from dazoo.bench.report.model import Report
from dazoo.bench.report.sections import shown
from dazoo.core.errors import DazooError, nearest
from dazoo.data.names import split_name

WIDE = 7
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return re.sub(r"[\\&%$#_{}~^<>]", lambda m: SPECIAL[m[0]], text)


@dataclass(frozen=True)
class Layout:
    """What a table shows and how.

    Attributes:
        methods: labels in place of all. top: so many of the best that see no target label, 0 for all.
        long: a ``longtable`` that breaks over pages. families: a block per family, that of the best method first.
        digits: after the point.
    """

    methods: tuple[str, ...] = ()
    top: int = 0
    long: bool = False
    families: bool = False
    digits: int = 1


def latex(made: Report, layout: Layout | None = None) -> str:
    """A table with booktabs rules: tasks as columns, the mean last.

    The best number of a column is bold, the second underlined (ties share it), among the methods shown that see no
    target label; the others stand apart below a rule. Standard deviations over seeds where there are several, that of
    the mean from each seed's mean over tasks. A dagger marks methods that are worse than the best one over tasks
    (Wilcoxon, Holm-corrected, 5 %). Tables with more than ``WIDE`` tasks span both columns in small print.

    Raises:
        DazooError: ``layout`` names a method that the leaderboard lacks.
    """
    layout = layout or Layout()
    board, digits = made.board, layout.digits
    plain, marked = _chosen(made, layout)
    values = np.array([_values(made, r) for r in plain]).reshape(len(plain), len(board.tasks) + 1)
    rounded = np.round(values * (100 if made.percent else 1), digits if made.percent else digits + 2)
    order = [_places(column if board.higher_is_better else -column) for column in rounded.T]
    worse = _worse(made, plain)
    width = len(board.tasks) + 2
    body: list[str] = []
    blocks: dict[str, list[str]] = {}
    for i, row in enumerate(plain):
        line = _line(made, row, [places[i] for places in order], worse.get(row.label, False), digits)
        blocks.setdefault(row.family if layout.families else "", []).append(line)
    for i, (family, lines) in enumerate(blocks.items()):
        head = rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(family.replace('_', ' '))}}}}} \\"
        body += ([r"\midrule"] if i else []) + ([head] if family else []) + lines
    if marked:
        body += [r"\midrule"] if body else []
        body += [_line(made, row, [0] * (width - 1), False, digits) for row in marked]
    heads = " & ".join(["Method", *map(_head, board.tasks), "Mean"]) + r" \\"
    return (
        "\n".join((_long if layout.long else _floating)(made, _caption(made, layout, worse), heads, body, width)) + "\n"
    )


def _chosen(made: Report, layout: Layout) -> tuple[list[Row], list[Row]]:
    """The rows shown that see no target label, and those that do."""
    rows = {r.label: r for r in made.board.rows}
    for label in layout.methods:
        if label not in rows:
            raise DazooError(f"the leaderboard has no method {label!r}: {nearest(label, rows)}")
    kept = [r for r in rows.values() if not layout.methods or r.label in layout.methods]
    plain, marked = [r for r in kept if not r.mark], [r for r in kept if r.mark]
    return (plain[: layout.top], []) if layout.top and not layout.methods else (plain[: layout.top or None], marked)


def _label(made: Report) -> str:
    return rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', made.name).strip('-')}}}"


def _columns(width: int) -> str:
    return "l" + "c" * (width - 1)


def _floating(made: Report, caption: str, heads: str, body: list[str], width: int) -> list[str]:
    wide = width - 2 > WIDE
    kind = "table*" if wide else "table"
    return [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{kind}}}[t]",
        r"\centering" + (r" \scriptsize \setlength{\tabcolsep}{2pt}" if wide else ""),
        rf"\caption{{{caption}}}",
        _label(made),
        rf"\begin{{tabular}}{{{_columns(width)}}}",
        r"\toprule",
        heads,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{kind}}}",
    ]


def _long(made: Report, caption: str, heads: str, body: list[str], width: int) -> list[str]:
    small = [r"\scriptsize \setlength{\tabcolsep}{2pt}"] if width - 2 > WIDE else []
    return [
        r"% needs \usepackage{booktabs,longtable}; a longtable stands in one-column text (\onecolumn)",
        r"\begingroup",
        *small,
        rf"\begin{{longtable}}{{{_columns(width)}}}",
        rf"\caption{{{caption}}} {_label(made)} \\",
        r"\toprule",
        heads,
        r"\midrule",
        r"\endfirsthead",
        rf"\multicolumn{{{width}}}{{l}}{{\small continued}} \\",
        r"\toprule",
        heads,
        r"\midrule",
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *body,
        r"\end{longtable}",
        r"\endgroup",
    ]


def _caption(made: Report, layout: Layout, worse: dict[str, bool]) -> str:
    seeds = sorted({len(c.values) for c in made.board.cells.values() if len(c.values)})
    note = " Best in bold, second underlined."
    if seeds and seeds[-1] > 1:
        count = str(seeds[0]) if len(seeds) == 1 else f"up to {seeds[-1]}"
        note += f" Mean and standard deviation over {count} seeds."
    elif seeds:
        note += " One seed."
    note += r" $^\dagger$: worse than the best over tasks (Wilcoxon, Holm, 5\%)." if any(worse.values()) else ""
    shown_rows, total = sum(map(len, _chosen(made, layout))), len(made.board.rows)
    note += f" {shown_rows} of {total} methods." if shown_rows < total else ""
    return f"{escape(made.name)}: {escape(made.unit)}, selected by {escape(shown(made.board.rule))}.{note}"


def _head(task: str) -> str:
    _, sources, target = split_name(task)
    return rf"{escape('+'.join(sources))}$\to${escape(target)}"


def _values(made: Report, row: Row) -> list[float]:
    cells = [made.board.cells.get((row.label, t)) for t in made.board.tasks]
    return [*(math.nan if c is None else c.mean for c in cells), row.mean]


def _places(column: np.ndarray) -> list[int]:
    """1 for the highest of a column, 2 for the second highest, 0 for the rest and what has no number."""
    known = sorted({float(v) for v in column if not math.isnan(v)}, reverse=True)
    return [known.index(float(v)) + 1 if not math.isnan(v) and known.index(float(v)) < 2 else 0 for v in column]


def _worse(made: Report, rows: list[Row]) -> dict[str, bool]:
    """Whether each method is worse than the first one over the tasks."""
    if len(rows) < 2 or math.isnan(rows[0].mean):
        return {}
    rest = [r for r in rows[1:] if not math.isnan(r.mean)]
    board = made.board
    found = [compare(board.cells, rows[0].label, r.label, board.higher_is_better, made.percent) for r in rest]
    # the best mean may belong to a method that loses on most tasks
    p = holm([c.wilcoxon_p if signed_ranks(c.differences) > 0 else 1.0 for c in found])
    return {r.label: bool(v < LEVEL) for r, v in zip(rest, p)}


def _mean_std(cells: Sequence[Cell | None]) -> float:
    """Standard deviation over seeds of the mean over tasks; NaN where the tasks do not share at least two seeds."""
    known = [c for c in cells if c is not None]
    seeds = {c.seeds for c in known}
    if len(seeds) != 1 or len(known) < len(cells) or len(known[0].values) < 2:
        return math.nan
    return float(np.mean([c.values for c in known], axis=0).std(ddof=1))


def _line(made: Report, row: Row, styles: list[int], worse: bool, digits: int) -> str:
    cells = [made.board.cells.get((row.label, t)) for t in made.board.tasks]
    numbers = [("", "") if c is None else (made.show(c.mean, digits), made.show(c.std, digits)) for c in cells]
    numbers.append((made.show(row.mean, digits), made.show(_mean_std(cells), digits)))
    parts = []
    for (mean, std), style in zip(numbers, styles):
        text = {1: rf"\textbf{{{mean}}}", 2: rf"\underline{{{mean}}}"}.get(style, mean) if mean else "--"
        parts.append(text + (rf" {{\scriptsize$\pm${std}}}" if std else ""))
    name = escape(row.label) + (r"$^\dagger$" if worse else "") + (rf" ({escape(row.mark)})" if row.mark else "")
    return " & ".join([name, *parts]) + r" \\"
