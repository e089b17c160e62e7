"""The leaderboard as Markdown."""

from __future__ import annotations

import math

from dazoo.bench.analysis.table import Row
from dazoo.bench.report import label_curves
from dazoo.bench.report.model import Report
from dazoo.bench.report.sections import Sections
from dazoo.bench.report.text import md, md_table, number
from dazoo.bench.report.words import BASELINE, READS, admissible, facts, problem, questions, rule_sentence


def markdown(made: Report, sections: Sections) -> str:
    """The leaderboard and the table per task; depends on the records' results and times only."""
    board = made.board
    lines = [f"# {md(made.name)}", ""]
    lines += [md(made.description), ""] if made.description else []
    lines += [line for text in questions(made) for line in (f"The question: {md(text)}", "")]
    lines += [rule_sentence(made), ""] + [f"- {md(fact)}" for fact in (*admissible(made), *facts(made))] + [""]
    averages = list(board.datasets) if board.several else []
    head = ["method", "family", made.unit, *averages, *made.beside_heads]
    head += ["95 % interval", "mean rank", made.time.head, "selected by", "sees"]
    lines += md_table(head, [_row(made, row) for row in board.rows])
    lines += ["", "## Per task", "", f"Mean of {made.unit} over seeds, ± standard deviation.", ""]
    heads = [board.short(c.task) if c.task else f"{c.dataset}, average" for c in board.columns]
    lines += md_table(["method", *heads], [[_name(r), *_cells(made, r)] for r in board.rows])
    lines += label_curves.markdown(made)
    lines += sections.markdown()
    if made.failures:
        lines += ["", "## Failures", ""]
        for cell, error in made.failures:
            where = f"{cell.label} on {cell.task}: failed {cell.failed} of {cell.total} runs"
            lines.append(f"- {md(f'{where}: {error[:300]}')}")
    return "\n".join(lines) + "\n"


def _row(made: Report, row: Row) -> list[str]:
    interval = f"{made.show(row.low)} to {made.show(row.high)}" if not math.isnan(row.low) else row.no_interval
    averages = [made.show(v) or "–" for v in row.averages] if made.board.several else []
    averages += [v or "–" for v in made.beside(row)]
    numbers = [row.problem or made.show(row.mean), *averages, interval, number(row.rank, 2), made.time.show(row)]
    return [_name(row), row.family, *numbers, row.selected_by, row.mark or "no target labels"]


def _cells(made: Report, row: Row) -> list[str]:
    found = []
    for column in made.board.columns:
        cell = made.board.cells.get((row.label, column.task))
        if not column.task:
            found.append(made.show(made.board.value(row, column), 1) or "–")
        elif cell is None:
            found.append("–")
        elif not len(cell.values):
            found.append(problem(cell))
        else:
            std = "" if math.isnan(cell.std) else f" ± {made.show(cell.std, 1)}"
            found.append(made.show(cell.mean, 1) + std)
    return found


def _name(row: Row) -> str:
    signs = [" †" if row.mark else "", f" {BASELINE}" if row.baseline else "", f" {READS}" if row.reads_source else ""]
    return row.label + "".join(signs)
