"""Sentences about a report: how models were chosen, what a reader must know, what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from dazoo.bench.analysis.select import ORACLE_LABEL, Cell
from dazoo.bench.metrics.formulas import SCORE
from dazoo.bench.metrics.registry import title
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.report.model import Report
from dazoo.core.questions import hidden, question, sees, unusual
from dazoo.core.setting import Setting
from dazoo.data.names import dataset_of


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


BASELINE = "‡"
READS = "§"
"""Marks the rows of closed-set methods where source and target have different classes."""


def asked(made: Report) -> list[Setting]:
    """The settings of the runs that differ from usual unsupervised adaptation."""
    return unusual(sorted({r.setting for r in made.runs.runs}))


def questions(made: Report) -> list[str]:
    """What the suite asks; empty for usual unsupervised adaptation."""
    return [f"{question(s)} A method sees {sees(s)}; hidden are {hidden(s)} ({s.name})." for s in asked(made)]


def admissible(made: Report) -> list[str]:
    """Which rules may choose models under what the suite asks, and why others may not; empty as ``questions``."""
    found: dict[str, None] = {}
    for setting in asked(made):
        from dazoo.validators.base import admission

        rules = admission(setting)
        able = ", ".join(rules.able) or "none, since answers come before there is anything to choose by"
        found[f"Rules that may choose here: {able}."] = None
        for reason, names in rules.refused.items() if rules.able else ():
            found[f"May not choose: {', '.join(names)} ({'each ' if len(names) > 1 else ''}{reason})."] = None
        if rules.without:
            found[f"Without a score, since the {rules.hidden} is hidden: {', '.join(rules.without)}."] = None
    return list(found)


def baselines(made: Report) -> str:
    """What the mark of closed-set methods means; empty where no row has it."""
    if not any(r.baseline for r in made.board.rows):
        return ""
    said = f"Methods marked with {BASELINE} are closed-set methods, run as baselines: they assume that source and "
    said += "target have the same classes"
    if not any(s.has_unknown for s in asked(made)):
        return f"{said}."
    return f"{said}, and call a sample unknown where the entropy of its probabilities is above half of the largest."


def readers(made: Report) -> str:
    """What the mark of methods means that read the source at set-up; empty where no row has it."""
    if not any(r.reads_source for r in made.board.rows):
        return ""
    return f"Methods marked with {READS} use source samples at set-up, which the setting hides from all others."


def streams(made: Report) -> str:
    """What must be known of streams: nothing can be chosen there."""
    if not any(s.target == "stream" for s in asked(made)):
        return ""
    return (
        "On streams no selection exists, since answers come before there is anything to choose by: hyper-parameters "
        "are fixed across tasks."
    )


def facts(made: Report) -> list[str]:
    """What a reader must know about the numbers."""
    board, runs = made.board, made.runs.runs
    seeds = sorted({len(c.values) for c in board.cells.values() if len(c.values)})
    shown = "no" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    known = any(not math.isnan(r.low) for r in board.rows)
    drawn = "tasks and seeds" if len(board.tasks) > 1 else "the seeds of this one task, not over tasks"
    interval = f"95 % bootstrap interval over {drawn}; " if known else ""
    several = f"{len(board.datasets)} datasets, " if board.several else ""
    mean = f"Mean of {made.unit} over tasks"
    if board.several:
        drawn = "the tasks of each dataset and seeds" if len(board.tasks) > len(board.datasets) else "seeds"
        interval = f"95 % bootstrap interval over {drawn}; " if known else ""
        mean = f"Overall mean of {made.unit}: the mean of the averages over the tasks of each dataset, so that every "
        mean += "dataset counts alike, however many tasks it has"
    found = [
        f"{several}{len(board.tasks)} tasks, {len(board.rows)} methods, {shown} seed{'' if seeds == [1] else 's'} "
        f"per task, {len(runs)} runs.",
        f"{mean}; {interval}mean rank{' over all tasks' if several else ''} among the methods with the same view of "
        "target labels.",
    ]
    if board.several and not made.percent and made.board.metric != "r2":
        found.append("Values of several datasets have several units: ranks compare methods better than the mean.")
    if any(math.isnan(r.mean) and not all(map(math.isnan, r.averages)) for r in board.rows):
        found.append("A method without a number on some task has averages on the other datasets, and no overall mean.")
    if any(r.no_interval for r in board.rows):
        found.append("No interval stands beside methods with one seed per task: one run does not show how runs differ.")
    if any(r.mark for r in board.rows):
        found.append("Methods marked with † see target labels and are no competitors of those that do not.")
    found += [said for said in (streams(made), baselines(made), readers(made)) if said]
    if board.beside:
        found.append(
            f"Beside {title(board.metric)}: {', '.join(map(title, board.beside))}, of the same checkpoints; ranks and "
            "intervals are of the first."
        )
    if made.time.note:
        found.append(made.time.note + made.origins.load())
    if board.unlabelled:
        found.append(f"Left out, since their target has no labels: {', '.join(board.unlabelled)}.")
    planned = made.plan.get("runs")
    if isinstance(planned, int) and planned > len(runs):
        found.append(f"Incomplete: {planned - len(runs)} of {planned} planned runs are missing.")
    left_out = skipped(made.plan.get("skipped", []), board.several)
    return found + [f"Skipped: {', '.join(labels)} ({reason})." for reason, labels in left_out]


def skipped(rows: Iterable[dict[str, Any]], several: bool = False) -> list[tuple[str, list[str]]]:
    """The methods left out of some task, by reason, which names the datasets where the suite has several."""
    groups: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        groups.setdefault((str(row["reason"]), str(row["label"])), set()).add(dataset_of(str(row.get("task", ""))))
    found: dict[str, set[str]] = {}
    for (reason, label), datasets in groups.items():
        on = f", on {', '.join(sorted(datasets))}" if several and datasets != {""} else ""
        found.setdefault(reason + on, set()).add(label)
    return [(reason, sorted(labels)) for reason, labels in sorted(found.items())]


def problem(cell: Cell) -> str:
    """Why a cell has no number."""
    if cell.failed:
        return f"failed {cell.failed} of {cell.total}"
    return "" if len(cell.values) else "incomplete"
