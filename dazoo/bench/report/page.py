"""The leaderboard as one HTML page that needs no network."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import ORACLE_LABEL, Cell
from dazoo.bench.analysis.table import Column
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.report import curves, label_curves, provenance, words
from dazoo.bench.report.canvas import PALETTE
from dazoo.bench.report.curves import Curves
from dazoo.bench.report.embedded import script
from dazoo.bench.report.figures import figures
from dazoo.bench.report.model import Report
from dazoo.bench.report.scatter import SAMPLES, Scatter
from dazoo.bench.report.sections import Sections
from dazoo.bench.report.shading import Shades, shades
from dazoo.data.names import dataset_of, split_name

if TYPE_CHECKING:
    import jinja2

ICONS = {
    "collapse": "◔", "inert term": "∅", "negative transfer": "▼", "unstable": "≋", "saturated discriminator": "⤒",
    "blind discriminator": "◌", "below baseline": "▽",
}  # fmt: skip
KINDS = {-1: "down", 0: "even", 1: "up"}
BLOCK = 1000
"""Runs whose scores are looked at together."""
DENSE = 16
"""Tasks above which the heads of the table per task stand upright."""
TALL = 30
"""Methods above which a table scrolls in a box of its own, below its heads."""


def environment() -> jinja2.Environment:
    """The templates of pages: text is escaped, ``sig`` is for numbers, ``code`` for words, ``name`` for names."""
    import jinja2
    from markupsafe import Markup, escape

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("dazoo.bench.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["sig"] = lambda v: "" if math.isnan(v) else f"{v:.6g}"
    env.filters["code"] = lambda text: Markup(re.sub(r"``(.+?)``", r"<code>\1</code>", str(escape(text))))
    env.filters["name"] = lambda text: Markup(str(escape(text)).replace("_", "_<wbr>"))
    return env


def page(
    made: Report,
    sections: Sections,
    learned: Curves,
    points: Scatter,
    home: str = "",
    evidence: Mapping[str, str] | None = None,
) -> str:
    """The page of a report with learning curves and the scatter of features.

    Args:
        home: address of the site that the page belongs to. evidence: what a ledger says about each label.
    """
    from markupsafe import Markup

    board, found = made.board, shades(made.board)
    return (
        environment()
        .get_template("leaderboard.html")
        .render(
            made=made,
            home=home,
            evidence=evidence or {},
            board=board,
            rule=words.rule_sentence(made).replace("`", ""),
            facts=words.facts(made),
            rows=_rows(made, sections),
            families=sorted({r.family for r in board.rows}),
            columns=[_head(c) for c in board.columns],
            averages=board.datasets if board.several else (),
            beside=made.beside_heads,
            questions=words.questions(made),
            admissible=words.admissible(made),
            legend=words.baselines(made),
            marked_rules={sections.told(n) for n in sections.refused},
            spans=[(d, sum(c.dataset == d for c in board.columns)) for d in board.datasets] if board.several else [],
            grid=_grid(made, found),
            reference=found.reference or "the median of the column",
            dense=len(board.columns) > DENSE,
            tall=len(board.rows) > TALL,
            rules_differ=len({r.selected_by for r in board.rows if not math.isnan(r.mean)}) > 1,
            rules=_rules(made, sections),
            findings=sections.findings,
            label_curves=[
                (c, label_curves.sentence(made, c), *label_curves.table(made, c))
                for c in label_curves.label_curves(made)
            ],
            curve_figures=[(f.title, Markup(f.svg())) for f in label_curves.figures(made)],
            figures=[(f.title, Markup(f.svg())) for f in figures(made)],
            learned=learned,
            curve_points=curves.POINTS,
            points=points,
            samples=SAMPLES,
            shades=len(PALETTE),
            data=[
                script("runs", provenance.payload(made, sections)),
                script("curves", curves.payload(made, learned)),
                script("scatter", {"panels": points.panels, "shades": len(PALETTE)}),
            ],
            failures=_failures(made),
            warnings=_notes(made),
            digits=made.show,
            isnan=math.isnan,
            higher=higher_is_better,
        )
    )


def _head(column: Column) -> tuple[str, str]:
    """Source and target of a column's task; both empty above an average."""
    if not column.task:
        return "", ""
    _, sources, target = split_name(column.task)
    return "+".join(sources), target


def _rows(made: Report, sections: Sections) -> list[dict[str, Any]]:
    """Rows with flags, peak memory and their interval in words."""
    runs: dict[str, list[Run]] = {}
    for run in made.runs.runs:
        runs.setdefault(run.label, []).append(run)
    flags: dict[str, Counter[str]] = {}
    for f in sections.findings:
        flags.setdefault(f.label, Counter())[f.kind] += 1
    found = []
    for row in made.board.rows:
        detail = f"{made.show(row.low)} to {made.show(row.high)}"
        shown = [(ICONS.get(kind, "⚠"), kind, n) for kind, n in sorted(flags.get(row.label, Counter()).items())]
        memory = made.origins.memory(runs[row.label])
        found.append({"row": row, "detail": detail, "flags": shown, "memory": memory})
    return found


def _grid(made: Report, found: Shades) -> list[dict[str, Any]]:
    """Cells by row with the classes of their shade; ``at`` is the number of a cell's task, ``average`` that of a
    dataset."""
    board = made.board
    chosen = any(c.trial for c in board.cells.values())
    places = {t: i for i, t in enumerate(board.tasks)}
    rows = []
    for i, row in enumerate(board.rows):
        cells = []
        for j, column in enumerate(board.columns):
            cell, step = board.cells.get((row.label, column.task)), found.steps[i, j]
            kind = "" if math.isnan(step) else f" {KINDS[int(np.sign(step))]}" + (f"{abs(step):g}" if step else "")
            told = _told(made, cell, chosen) if cell is not None and len(cell.values) else ""
            kind += " best" if found.best[i, j] else ""
            where = {"at": places.get(column.task, -1), "average": None if column.task else board.value(row, column)}
            cells.append({"cell": cell, "kind": kind, "told": told, **where})
        rows.append({"row": row, "cells": cells})
    return rows


def _told(made: Report, cell: Cell, chosen: bool) -> str:
    spread = "" if math.isnan(cell.std) else f", ± {made.show(cell.std)}"
    count = len(cell.values)
    return f"{count} seed{'s' if count > 1 else ''}{spread}" + (f", trial {cell.trial}" if chosen else "")


def _rules(made: Report, sections: Sections) -> dict[str, Any]:
    """Mean metric of every method under every rule the records allow, and what each rule costs."""
    rows = [{"label": label, "mark": mark, "values": values} for label, mark, values in sections.rule_rows()]
    regrets = [{"regret": r, "words": sections.words(r)} for r in sections.regrets]
    return {"names": sections.rule_names(), "rows": rows, "regrets": regrets, "oracle": ORACLE_LABEL}


def _failures(made: Report) -> list[dict[str, Any]]:
    return [{"cell": cell, "error": error} for cell, error in made.failures]


def _notes(made: Report) -> list[str]:
    """What is unusual about the records."""
    found = ([made.runs.damage.summary()] if len(made.runs.damage) else []) + [f"{p}." for p in made.problems]
    if made.runs.superseded:
        found.append(f"{made.runs.superseded} records of an earlier form of this suite are left out.")
    versions = made.origins.versions()
    if len(versions) > 1:
        told = ", ".join(f"{v} ({n} runs)" for v, n in sorted(versions.items()))
        found.append(f"The records were made by several versions of dazoo: {told}.")
    if not any(len(c.values) for c in made.board.cells.values()):
        failed = sum(c.failed for c in made.board.cells.values())
        found.append(f"No method has a number: {failed} of {len(made.runs.runs)} runs failed; see Failures.")
    mixed = Counter(c.selected_by for c in made.board.cells.values() if len(c.values) and "undefined" in c.selected_by)
    found += [f"{n} cells: selected by {rule}." for rule, n in sorted(mixed.items())]
    return found + _missing(made)


def _missing(made: Report) -> list[str]:
    """Validators that gave no number at some checkpoints."""
    lost: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    alike: dict[tuple[tuple[str, ...], str], list[np.ndarray]] = {}
    for run in made.runs.runs:
        alike.setdefault((run.validators, dataset_of(run.task)), []).append(run.scores)
    for (names, dataset), scores in alike.items():
        for some in (np.concatenate(scores[i : i + BLOCK]) for i in range(0, len(scores), BLOCK)):
            for name, column in zip(names, np.isnan(some).sum(0).tolist()):
                lost.setdefault(name, Counter())[dataset] += column
                total[name] += len(some)
    found = []
    for name, of in sorted((k, of) for k, of in lost.items() if any(of.values())):
        where = ", ".join(f"{d} {n}" for d, n in sorted(of.items()) if n) if made.board.several else ""
        count = f"{sum(of.values())} of {total[name]} checkpoints{f' ({where})' if where else ''}"
        found.append(f"{name} gave no number at {count}; it never chooses those.")
    return found
