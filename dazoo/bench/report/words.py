"""Sentences about a report: how models were chosen, what a reader must know, what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dazoo.bench.analysis.select import ORACLE_LABEL, Cell
from dazoo.bench.metrics.formulas import SCORE
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.report.model import Report


def rule_sentence(made: Report) -> str:
    """How trial and checkpoint were chosen, in one sentence."""
    rule = made.board.rule
    if made.board.label_free:
        by = made.board.metric.removeprefix(SCORE)
        chose = "the last checkpoint" if rule == LAST else "trial and checkpoint of highest score"
        return (
            f"No target label is known: methods are ranked by the label-free validator `{by}`, each by {chose}. "
            "A score is no accuracy, and the best score need not belong to the best method."
        )
    if rule == LAST:
        return "No selection: every number is the last checkpoint of the default hyper-parameters."
    if rule == ORACLE_RULE:
        return f"Selection by {ORACLE_LABEL}: an upper bound that no one without labels can reach."
    return (
        f"Trial and checkpoint of every run were chosen by the label-free validator `{rule}`; "
        "target labels were used for the final numbers only."
    )


def facts(made: Report) -> list[str]:
    """What a reader must know about the numbers."""
    board, runs = made.board, made.runs.runs
    seeds = sorted({len(c.values) for c in board.cells.values() if len(c.values)})
    shown = "no" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    known = any(not math.isnan(r.low) for r in board.rows)
    drawn = "tasks and seeds" if len(board.tasks) > 1 else "the seeds of this one task, not over tasks"
    interval = f"95 % bootstrap interval over {drawn}; " if known else ""
    found = [
        f"{len(board.tasks)} tasks, {len(board.rows)} methods, {shown} seed{'' if seeds == [1] else 's'} per task, "
        f"{len(runs)} runs.",
        f"Mean of {made.unit} over tasks; {interval}mean rank among the methods with the same view of target labels.",
    ]
    if any(r.no_interval for r in board.rows):
        found.append("No interval stands beside methods with one seed per task: one run does not show how runs differ.")
    if any(r.mark for r in board.rows):
        found.append("Methods marked with † see target labels and are no competitors of those that do not.")
    if made.time.note:
        found.append(made.time.note + made.origins.load())
    if board.unlabelled:
        found.append(f"Left out, since their target has no labels: {', '.join(board.unlabelled)}.")
    planned = made.plan.get("runs")
    if isinstance(planned, int) and planned > len(runs):
        found.append(f"Incomplete: {planned - len(runs)} of {planned} planned runs are missing.")
    found += [f"Skipped: {', '.join(labels)} ({reason})." for reason, labels in skipped(made.plan.get("skipped", []))]
    return found


def skipped(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The methods left out of some task, by reason."""
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(str(row["reason"]), set()).add(str(row["label"]))
    return [(reason, sorted(labels)) for reason, labels in sorted(groups.items())]


def problem(cell: Cell) -> str:
    """Why a cell has no number."""
    if cell.failed:
        return f"failed {cell.failed} of {cell.total}"
    return "" if len(cell.values) else "incomplete"
