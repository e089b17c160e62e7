"""The leaderboard as one HTML page that needs no network."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from dazoo.bench.analysis.select import ORACLE_LABEL, Run
from dazoo.bench.report import curves, provenance, words
from dazoo.bench.report.canvas import PALETTE
from dazoo.bench.report.curves import Curves
from dazoo.bench.report.figures import figures
from dazoo.bench.report.model import Report
from dazoo.bench.report.scatter import SAMPLES, Scatter
from dazoo.bench.report.sections import Sections
from dazoo.data.registry import split_name

ICONS = {
    "collapse": "◔", "inert term": "∅", "negative transfer": "▼", "unstable": "≋", "saturated discriminator": "⤒",
    "blind discriminator": "◌", "below baseline": "▽",
}  # fmt: skip


def page(made: Report, sections: Sections, learned: Curves, points: Scatter) -> str:
    """The page of a report with learning curves and the scatter of features."""
    import jinja2
    from markupsafe import Markup

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("dazoo.bench.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    board = made.board
    return env.get_template("leaderboard.html").render(
        made=made,
        board=board,
        rule=words.rule_sentence(made).replace("`", ""),
        facts=words.facts(made),
        rows=_rows(made, sections),
        families=sorted({r.family for r in board.rows}),
        tasks=[_task(t) for t in board.tasks],
        grid=_grid(made),
        rules=_rules(made, sections),
        findings=sections.findings,
        figures=[(f.title, Markup(f.svg())) for f in figures(made)],
        learned=learned,
        curve_points=curves.POINTS,
        points=points,
        samples=SAMPLES,
        shades=len(PALETTE),
        runs_json=Markup(provenance.embed(provenance.payload(made, sections))),
        curves_json=Markup(provenance.embed(curves.payload(made, learned))),
        scatter_json=Markup(provenance.embed({"panels": points.panels, "shades": len(PALETTE)})),
        failures=_failures(made),
        warnings=_notes(made),
        digits=made.show,
        isnan=math.isnan,
    )


def _task(name: str) -> tuple[str, str]:
    _, sources, target = split_name(name)
    return "+".join(sources), target


def _rows(made: Report, sections: Sections) -> list[dict[str, Any]]:
    """Rows with flags, peak memory and the place of their interval among all intervals of the page, in percent."""
    ends = [v for r in made.board.rows for v in (r.low, r.high) if not math.isnan(v)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    span = (high - low) or 1.0
    runs: dict[str, list[Run]] = {}
    for run in made.runs.runs:
        runs.setdefault(run.label, []).append(run)
    flags: dict[str, Counter[str]] = {}
    for f in sections.findings:
        flags.setdefault(f.label, Counter())[f.kind] += 1
    found = []
    for row in made.board.rows:
        bar = {k: 100 * (getattr(row, k) - low) / span for k in ("low", "mean", "high")}
        detail = f"{made.show(row.low)} to {made.show(row.high)}"
        shown = [(ICONS.get(kind, "⚠"), kind, n) for kind, n in sorted(flags.get(row.label, Counter()).items())]
        memory = made.origins.memory(runs[row.label])
        found.append({"row": row, "bar": bar, "detail": detail, "flags": shown, "memory": memory})
    return found


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
    lost: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for run in made.runs.runs:
        for name, column in zip(run.validators, np.isnan(run.scores).sum(0)):
            lost[name] += int(column)
            total[name] += len(run.scores)
    return [
        f"{name} gave no number at {n} of {total[name]} checkpoints; it never chooses those."
        for name, n in sorted(lost.items())
        if n
    ]
