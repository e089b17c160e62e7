"""Where each number comes from: the runs behind every cell of a report, with all that is needed to repeat them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import Cell
from dazoo.bench.report.model import Report
from dazoo.bench.report.origins import Pool
from dazoo.bench.report.sections import Sections
from dazoo.data.names import dataset_of

RUN = (
    "key", "seed", "trial", "value", "point", "steps", "started", "seconds", "cpu", "device", "load", "memory",
    "setup", "hparams", "place", "notes", "scores", "metrics", "error",
)  # fmt: skip
"""What a run's row on the page holds, in this order."""


def payload(made: Report, sections: Sections) -> dict[str, Any]:
    """What the page needs to open the runs behind a cell; plain data, rounded to three to five digits."""
    board, origins = made.board, made.origins
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in made.runs.runs:
        groups.setdefault((run.label, run.task), []).append(run)
    names, errors = Pool(), Pool()
    tasks = {t: i for i, t in enumerate(board.tasks)}
    cells: dict[str, dict[int, Any]] = {}
    for (label, task), cell in board.cells.items():
        rows = [_row(made, run, point, names, errors) for run, point in behind(cell, groups[label, task])]
        trials = len({r.trial for r in groups[label, task]})
        entry = [rule(cell), trials, cell.failed, cell.total, rows]
        cells.setdefault(label, {})[tasks[task]] = entry
    findings: dict[str, list[list[Any]]] = {}
    for f in sections.findings:
        findings.setdefault(f.label, []).append([f.kind, tasks.get(f.task, -1), f.text])
    return {
        "metric": board.metric,
        "percent": made.percent,
        "columns": RUN,
        "tasks": [board.short(t) for t in board.tasks],
        "datasets": [board.datasets.index(dataset_of(t)) for t in board.tasks],
        "cells": cells,
        "names": names.values,
        "errors": errors.values,
        "setups": origins.setups.values,
        "hparams": origins.hparams.values,
        "places": origins.places.values,
        "notes": origins.notes.values,
        "steps": origins.steps.values,
        "findings": findings,
        "suite": "suite.yaml" if made.suite_text else "",
    }


def rule(cell: Cell) -> str:
    """What chose; empty where nothing could be chosen."""
    return cell.selected_by if len(cell.values) else ""


def behind(cell: Cell, group: list[Run]) -> list[tuple[Run, int]]:
    """The selected runs of a cell with the selected checkpoint, and its failed runs with -1."""
    chosen = {(cell.trial, seed): point for seed, point in zip(cell.seeds, cell.picks)}
    found = [(r, chosen[r.trial, r.seed]) for r in group if r.ok and (r.trial, r.seed) in chosen]
    return found + [(r, -1) for r in group if not r.ok]


def _row(made: Report, run: Run, point: int, names: Pool, errors: Pool) -> list[Any]:
    origin = made.origins.runs[run.key]
    good = point >= 0
    value = run.metric(made.board.metric)[point] if good else math.nan
    scores = [short(v, 4) for v in run.scores[point]] if good else []
    metrics = [short(v) for v in run.target[point]] if good else []
    return [
        run.key,
        run.seed,
        run.trial,
        short(value),
        point,
        origin.steps,
        origin.started[:19],
        short(run.seconds, 3),
        short(run.cpu_seconds, 3),
        short(run.device_seconds, 3),
        origin.load,
        short(origin.memory if origin.memory is not None else math.nan),
        origin.setup,
        origin.hparams,
        origin.place,
        origin.notes,
        [names.put_shared((run.validators,), lambda: run.validators), *scores] if good else 0,
        [names.put_shared((run.metrics,), lambda: run.metrics), *metrics] if good else 0,
        -1 if run.ok else errors.put(run.error),
    ]


def short(value: float, digits: int = 5) -> float | None:
    """A number with so many significant digits; None for NaN and infinite ones."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def embed(data: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
