"""The leaderboard as one HTML page that needs no network."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dazoo.bench.figures import figures
from dazoo.bench.select import ORACLE_LABEL
from dazoo.bench.table import Row
from dazoo.data.registry import split_name

if TYPE_CHECKING:
    from dazoo.bench.report import Report


def page(made: Report) -> str:
    """The page of a report."""
    import jinja2
    from markupsafe import Markup

    from dazoo.bench import report as words

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("dazoo.bench", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    board = made.board
    return env.get_template("leaderboard.html").render(
        made=made,
        board=board,
        rule=words.rule_sentence(made).replace("`", ""),
        facts=words.facts(made),
        rows=[_row(made, row) for row in board.rows],
        families=sorted({r.family for r in board.rows}),
        tasks=[_task(t) for t in board.tasks],
        grid=_grid(made),
        rules=_rules(made),
        findings=made.sections.findings,
        figures=[(f.title, Markup(f.svg())) for f in figures(made)],
        failures=_failures(made),
        warnings=_notes(made),
        digits=made.show,
        isnan=math.isnan,
    )


def _task(name: str) -> tuple[str, str]:
    _, sources, target = split_name(name)
    return "+".join(sources), target


def _row(made: Report, row: Row) -> dict[str, Any]:
    """A row and the position of its interval between the lowest and highest number on the page, in percent."""
    shown = [r for r in made.board.rows if not math.isnan(r.mean)]
    low, high = min((r.low for r in shown), default=0.0), max((r.high for r in shown), default=1.0)
    span = (high - low) or 1.0
    place = {k: 0.0 if math.isnan(v) else 100 * (v - low) / span for k, v in _ends(row).items()}
    return {"row": row, "bar": place, "detail": f"{made.show(row.low)} to {made.show(row.high)}"}


def _ends(row: Row) -> dict[str, float]:
    return {"low": row.low, "mean": row.mean, "high": row.high}


def _grid(made: Report) -> list[dict[str, Any]]:
    """Cells by row with a shade in [0, 1], 1 for the best of the column."""
    board = made.board
    values = np.array(
        [
            [board.cells[r.label, t].mean if (r.label, t) in board.cells else np.nan for t in board.tasks]
            for r in board.rows
        ]
    )
    signed = values if board.higher_is_better else -values
    rows = []
    for i, row in enumerate(board.rows):
        cells = []
        for j, task in enumerate(board.tasks):
            cell, column = board.cells.get((row.label, task)), signed[:, j]
            known = column[~np.isnan(column)]
            span = float(np.ptp(known)) if len(known) else 0.0
            shade = 0.5 if span == 0 else (signed[i, j] - known.min()) / span
            cells.append({"cell": cell, "shade": 0.0 if math.isnan(values[i, j]) else round(float(shade), 3)})
        rows.append({"row": row, "cells": cells})
    return rows


def _rules(made: Report) -> dict[str, Any]:
    """Mean metric of every method under every rule the records allow, and what each rule costs."""
    parts = made.sections
    rows = [{"label": label, "mark": mark, "values": values} for label, mark, values in parts.rule_rows()]
    regrets = [{"regret": r, "words": parts.words(r)} for r in parts.regrets]
    return {"names": parts.rule_names(), "rows": rows, "regrets": regrets, "oracle": ORACLE_LABEL}


def _failures(made: Report) -> list[dict[str, Any]]:
    return [{"cell": cell, "error": error} for cell, error in made.failures]


def _notes(made: Report) -> list[str]:
    """What is unusual about the records."""
    found = [made.runs.damage.summary()] if len(made.runs.damage) else []
    if made.runs.superseded:
        found.append(f"{made.runs.superseded} records of an earlier form of this suite are left out.")
    mixed = Counter(c.selected_by for c in made.board.cells.values() if "undefined" in c.selected_by)
    found += [f"{n} cells: selected by {rule}." for rule, n in sorted(mixed.items())]
    return found
