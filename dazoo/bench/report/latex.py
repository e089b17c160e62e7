"""The table of a report as papers print it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.compare import by_task
from dazoo.bench.analysis.significance import LEVEL, holm, signed_ranks, wilcoxon
from dazoo.bench.analysis.table import Row
from dazoo.bench.metrics.formulas import higher_is_better, is_share
from dazoo.bench.metrics.registry import title
from dazoo.bench.report.model import Report
from dazoo.bench.report.sections import shown
from dazoo.bench.report.typeset import (
    DENSE,
    NORMAL,
    SMALL,
    TEXT_HEIGHT,
    TEXT_WIDTH,
    Size,
    escape,
    heads,
    panels,
    spans,
    widths,
)
from dazoo.core.errors import DazooError, nearest
from dazoo.data.names import dataset_of

WIDE = 7


@dataclass(frozen=True)
class Layout:
    """What a table shows and how.

    Attributes:
        methods: labels in place of all. top: so many of the best that see no target label, 0 for all.
        long: a ``longtable`` that breaks over pages. families: a block per family, that of the best method first.
        beside: also the means of the metrics that stand beside the shown one.
        digits: after the point. width: of the text in points.
    """

    methods: tuple[str, ...] = ()
    top: int = 0
    long: bool = False
    families: bool = False
    beside: bool = False
    digits: int = 1
    width: float = TEXT_WIDTH


def latex(made: Report, layout: Layout | None = None) -> str:
    """A table with booktabs rules: tasks as columns, the mean last. Of several datasets, each has a group of columns
    with its average.

    The best number of a column is bold, the second underlined (ties share it), among the methods shown that see no
    target label; the others stand apart below a rule, by what they see. Standard deviations over seeds where there are
    several, that of the mean from each seed's mean over tasks. A dagger marks methods that are worse than the best one
    over tasks (Wilcoxon, Holm-corrected, 5 %).

    Tables with more than ``WIDE`` tasks span both columns in small print. Long names of domains become letters that the
    caption explains; columns that do not fit stand in panels one below the other; a table too high for a page breaks
    over pages.

    Raises:
        DazooError: ``layout`` names a method that the leaderboard lacks.
    """
    layout = layout or Layout()
    plain, marked = _chosen(made, layout)
    worse = _worse(made, plain)
    head, groups, legend = _heads(made)
    others = made.board.beside if layout.beside else ()
    head, groups = head + [escape(title(name)) for name in others], groups + [""] * len(others)
    for size in [SMALL] if len(head) - 2 > WIDE else [NORMAL, DENSE]:
        table = [head, *_body(made, layout, plain, marked, worse, size)]
        room = widths(table, size)
        if sum(room) <= layout.width:
            break
    columns = [[0, *part] for part in panels(room, layout.width, groups)]
    blocks = [[_line(row, part) for row in table] for part in columns]
    for lines, part in zip(blocks, columns):
        lines[0] = "\n".join([*spans([groups[i] for i in part]), lines[0]])
    caption = _caption(made, layout, worse) + (f" {legend}." if legend else "")
    high = sum(len(rows) + 3 for rows in blocks) * size.line
    kind = _long if layout.long or high > TEXT_HEIGHT else _floating
    return "\n".join(kind(made, caption, size, blocks, [len(part) for part in columns])) + "\n"


def _heads(made: Report) -> tuple[list[str], list[str], str]:
    """Head and dataset of each column, empty where it belongs to none, and what letters in the heads mean."""
    board = made.board
    if not board.several:
        names, legend = heads(board.tasks)
        return ["Method", *names, "Mean"], [""] * (len(names) + 2), legend
    head, legends = ["Method"], []
    for dataset in board.datasets:
        names, legend = heads([c.task for c in board.columns if c.dataset == dataset and c.task])
        head += [*names, "Avg"]
        legends += [f"{escape(dataset)}: {legend}"] if legend else []
    return [*head, "Mean"], ["", *(c.dataset for c in board.columns), ""], "; ".join(legends)


def _chosen(made: Report, layout: Layout) -> tuple[list[Row], list[Row]]:
    """The rows shown that see no target label, and those that do."""
    rows = {r.label: r for r in made.board.rows}
    for label in layout.methods:
        if label not in rows:
            raise DazooError(f"the leaderboard has no method {label!r}: {nearest(label, rows)}")
    kept = [r for r in rows.values() if not layout.methods or r.label in layout.methods]
    plain, marked = [r for r in kept if not r.mark], [r for r in kept if r.mark]
    return (plain[: layout.top], []) if layout.top and not layout.methods else (plain[: layout.top or None], marked)


def _body(
    made: Report, layout: Layout, plain: list[Row], marked: list[Row], worse: dict[str, bool], size: Size
) -> list[list[str]]:
    """Cells of every line; one cell alone is a heading, none a rule."""
    digits = layout.digits
    board = made.board
    names = [board.metric] * (len(board.columns) + 1) + list(board.beside if layout.beside else ())
    values = np.array([_values(made, r, layout) for r in plain]).reshape(len(plain), len(names))
    order = []
    for name, column in zip(names, values.T):
        rounded = np.round(100 * column, digits) if is_share(name) else np.round(column, digits + 2)
        order.append(_places(rounded if higher_is_better(name) else -rounded))
    blocks: dict[str, list[list[str]]] = {}
    for i, row in enumerate(plain):
        line = _cells(made, row, [places[i] for places in order], worse.get(row.label, False), layout, size)
        blocks.setdefault(row.family if layout.families else "", []).append(line)
    for row in marked:
        blocks.setdefault(row.mark, []).append(_cells(made, row, [0] * len(names), False, layout, size))
    body: list[list[str]] = []
    for group, lines in blocks.items():
        body += ([[]] if body else []) + ([[group.replace("_", " ")]] if group else []) + lines
    return body


def _line(cells: list[str], part: list[int]) -> str:
    if not cells:
        return r"\midrule"
    if len(cells) == 1:
        return rf"\multicolumn{{{len(part)}}}{{l}}{{\textit{{{escape(cells[0])}}}}} \\"
    return " & ".join(cells[i] for i in part) + r" \\"


def _label(made: Report) -> str:
    return rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', made.name).strip('-')}}}"


def _columns(width: int) -> str:
    return "l" + "c" * (width - 1)


def _floating(made: Report, caption: str, size: Size, blocks: list[list[str]], columns: list[int]) -> list[str]:
    kind = "table*" if size is SMALL else "table"
    found = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{{kind}}}[t]",
        r"\centering" + (f" {size.command}" if size.command else ""),
        rf"\caption{{{caption}}}",
        _label(made),
    ]
    for i, ((head, *body), width) in enumerate(zip(blocks, columns)):
        found += [r"", r"\medskip"] if i else []
        found += [rf"\begin{{tabular}}{{{_columns(width)}}}", r"\toprule", head, r"\midrule", *body]
        found += [r"\bottomrule", r"\end{tabular}"]
    return [*found, rf"\end{{{kind}}}"]


def _long(made: Report, caption: str, size: Size, blocks: list[list[str]], columns: list[int]) -> list[str]:
    found = [
        r"% needs \usepackage{booktabs,longtable}; a longtable stands in one-column text (\onecolumn)",
        r"\begingroup" + (f" {size.command}" if size.command else ""),
        r"\setlength{\LTcapwidth}{\linewidth}",
        r"\let\plaintablename\tablename \renewcommand{\tablename}{\normalsize\plaintablename}",
    ]
    for i, ((head, *body), width) in enumerate(zip(blocks, columns)):
        again = rf"\multicolumn{{{width}}}{{l}}{{\textit{{continued}}}} \\"
        found += [r"\addtocounter{table}{-1}"] if i else []
        found += [rf"\begin{{longtable}}{{{_columns(width)}}}"]
        found += [again] if i else [rf"\caption{{\normalsize {caption}}} {_label(made)} \\"]
        found += [r"\toprule", head, r"\midrule", r"\endfirsthead"]
        found += [again, r"\toprule", head, r"\midrule", r"\endhead"]
        found += [r"\bottomrule", r"\endfoot", *_kept_together(body), r"\end{longtable}"]
    return [*found, r"\endgroup"]


def _kept_together(body: list[str]) -> list[str]:
    """Lines without a page break behind headings, the first three and those before the last three.

    Space in place of rules, which would double those at the end of a page.
    """
    body, last = [r"\addlinespace" if line == r"\midrule" else line for line in body], len(body) - 3
    kept = (i < 3 or i >= last or line.startswith(r"\multicolumn") for i, line in enumerate(body))
    return [line + "*" if keep and line.endswith("\\\\") else line for line, keep in zip(body, kept)]


def _caption(made: Report, layout: Layout, worse: dict[str, bool]) -> str:
    seeds = sorted({len(c.values) for c in made.board.cells.values() if len(c.values)})
    note = " Best in bold, second underlined."
    if seeds and seeds[-1] > 1:
        count = str(seeds[0]) if len(seeds) == 1 else f"up to {seeds[-1]}"
        note += f" Mean and standard deviation over {count} seeds."
    elif seeds:
        note += " One seed."
    note += r" $^\dagger$: worse than the best over tasks (Wilcoxon, Holm, 5\%)." if any(worse.values()) else ""
    chosen = [row for rows in _chosen(made, layout) for row in rows]
    note += r" $^\ddagger$: closed-set method." if any(row.baseline for row in chosen) else ""
    note += r" $^\S$: uses source samples at set-up." if any(row.reads_source for row in chosen) else ""
    if layout.beside and made.board.beside:
        note += f" {', '.join(escape(title(name)) for name in made.board.beside)}: means like the one before."
    shown_rows, total = len(chosen), len(made.board.rows)
    note += f" {shown_rows} of {total} methods." if shown_rows < total else ""
    note += " Avg: over the tasks of a dataset; Mean: of these averages." if made.board.several else ""
    return f"{escape(made.name)}: {escape(made.unit)}, selected by {escape(shown(made.board.rule))}.{note}"


def _values(made: Report, row: Row, layout: Layout) -> list[float]:
    further = row.beside if layout.beside else ()
    return [*(made.board.value(row, c) for c in made.board.columns), row.mean, *further]


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
    found = [
        np.array([group.mean() for group in by_task(board.cells, rows[0].label, r.label, board.higher_is_better)[1]])
        for r in rest
    ]
    # the best mean may belong to a method that loses on most tasks
    p = holm([wilcoxon(d)[1] if len(d) > 1 and signed_ranks(d) > 0 else 1.0 for d in found])
    return {r.label: bool(v < LEVEL) for r, v in zip(rest, p)}


def _mean_std(made: Report, row: Row, datasets: Sequence[str]) -> float:
    """Standard deviation over seeds of the mean over tasks, then datasets; NaN where tasks do not share two seeds."""
    sets = [[made.board.cells.get((row.label, t)) for t in made.board.tasks if dataset_of(t) == d] for d in datasets]
    known = [c for cells in sets for c in cells if c is not None]
    seeds = {c.seeds for c in known}
    if len(seeds) != 1 or len(known) < sum(map(len, sets)) or len(known[0].values) < 2:
        return math.nan
    means = [np.mean([c.values for c in cells if c is not None], axis=0) for cells in sets]
    return float(np.mean(means, axis=0).std(ddof=1))


def _cells(made: Report, row: Row, styles: list[int], worse: bool, layout: Layout, size: Size) -> list[str]:
    """The name and the numbers of a row."""
    board, numbers, digits = made.board, [], layout.digits
    for column in board.columns:
        cell = board.cells.get((row.label, column.task))
        spread = _mean_std(made, row, [column.dataset]) if not column.task else math.nan if cell is None else cell.std
        numbers.append((made.show(board.value(row, column), digits), made.show(spread, digits)))
    numbers.append((made.show(row.mean, digits), made.show(_mean_std(made, row, board.datasets), digits)))
    numbers += [(value, "") for value in made.beside(row, digits)] if layout.beside else []
    parts = []
    for (mean, std), style in zip(numbers, styles):
        text = {1: rf"\textbf{{{mean}}}", 2: rf"\underline{{{mean}}}"}.get(style, mean) if mean else "--"
        parts.append(text + (rf" {{{size.spread}$\pm${std}}}" if std else ""))
    marks = (r"$^\ddagger$" if row.baseline else "") + (r"$^\S$" if row.reads_source else "")
    marks += r"$^\dagger$" if worse else ""
    return [escape(row.label) + marks, *parts]
