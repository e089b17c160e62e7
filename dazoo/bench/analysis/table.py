"""The leaderboard: a pure function of the selected runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dazoo.bench.analysis.grid import averages_of, mean_of
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import Cell, default_metric, select, shown_beside
from dazoo.bench.analysis.statistics import bootstrap_interval, mean_ranks
from dazoo.bench.metrics.formulas import SCORE, higher_is_better
from dazoo.bench.metrics.registry import WORST, shows_worst
from dazoo.bench.plan.suite import DEFAULT_RULE, ORACLE_RULE
from dazoo.core.setting import Setting
from dazoo.data.names import dataset_of

SHOWN = {"few": "few target labels", "query": "target labels it asked for", "half": "target labels (upper bound)"}


def mark_of(setting: str) -> str:
    """What a row says of the target labels that its method sees; empty where it sees none."""
    return SHOWN.get(Setting.of(setting).marked, "")


ABSENT = "not run on"
"""How the problem of a method begins that has no run on some dataset."""


@dataclass(frozen=True)
class Row:
    """A method over all tasks of a suite.

    ``mean`` is over tasks; of several datasets it is the mean of their means, ``averages``, each NaN where the method
    lacks a number on some task of the dataset. ``mean``, ``low``, ``high`` and ``rank`` are NaN where it lacks one on
    some task of any; ``problem`` says why.
    ``low`` and ``high`` are NaN for a method with one seed per task, too: ``seeds`` is the largest number of any task.
    ``mark`` is empty for methods that see no target label. ``seconds`` are those of the clock on the wall.
    ``baseline`` says that the method assumes a closed set, and some task has none. ``beside`` are means like ``mean``,
    of the metrics that the leaderboard shows beside its own; each over the tasks that have such a number.
    """

    label: str
    method: str
    family: str
    setting: str
    mean: float
    low: float
    high: float
    rank: float
    seconds: float
    selected_by: str
    problem: str
    mark: str
    seeds: int = 0
    cpu_seconds: float = math.nan
    device_seconds: float = math.nan
    averages: tuple[float, ...] = ()
    baseline: bool = False
    reads_source: bool = False
    beside: tuple[float, ...] = ()

    @property
    def cost(self) -> float:
        """Seconds of a run that hardly depend on other work: of the device, else of processors, else NaN."""
        return self.cpu_seconds if math.isnan(self.device_seconds) else self.device_seconds

    @property
    def no_interval(self) -> str:
        """Why there is no interval, empty where there is one."""
        return "one seed" if self.seeds == 1 and not np.isnan(self.mean) else ""


@dataclass(frozen=True)
class Column:
    """A column of a table per task: a task, or with an empty ``task`` the average over the tasks of a dataset."""

    dataset: str
    task: str = ""


@dataclass(frozen=True)
class Leaderboard:
    """``rows`` best first; ``cells`` by (label, task); ``tasks`` sorted; all values of ``metric`` under ``rule``.

    ``datasets`` are those of the tasks, in their order; a row's ``averages`` are theirs.

    ``beside`` are the metrics of the same checkpoints that stand beside it, such as its parts.

    ``unlabelled`` are tasks left out because their target has no labels. Where no target has any, none is left out, and
    ``metric`` is the score of a validator.
    """

    rule: str
    metric: str
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[str, str], Cell]
    unlabelled: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(dataset_of, self.tasks)))

    @property
    def several(self) -> bool:
        """Whether the tasks are of several datasets, whose averages are then shown beside those of all."""
        return len(self.datasets) > 1

    @property
    def columns(self) -> list[Column]:
        """The tasks; of several datasets, those of each and then their average."""
        if not self.several:
            return [Column(dataset_of(t), t) for t in self.tasks]
        of = {d: [Column(d, t) for t in self.tasks if dataset_of(t) == d] for d in self.datasets}
        return [column for d, columns in of.items() for column in (*columns, Column(d))]

    def value(self, row: Row, column: Column) -> float:
        """The number of a row in a column, NaN where there is none."""
        if not column.task:
            return row.averages[self.datasets.index(column.dataset)]
        cell = self.cells.get((row.label, column.task))
        return math.nan if cell is None else cell.mean

    def short(self, task: str) -> str:
        """The name of a task, without its dataset where there is but one."""
        return task if self.several else task.partition("/")[2]

    @property
    def higher_is_better(self) -> bool:
        return higher_is_better(self.metric)

    @property
    def label_free(self) -> bool:
        """Whether methods are ranked by a validator, since no target has labels."""
        return self.metric.startswith(SCORE)


def leaderboard(runs: Sequence[Run], rule: str, metric: str | None = None, intervals: bool = True) -> Leaderboard:
    """Select by ``rule`` and summarise ``metric`` (by default accuracy, for regression rmse).

    Targets without labels have no metric. Where some have labels, the others are left out; where none has, methods are
    ranked by the score of the validator ``rule``, or of another that was recorded where the rule is none.

    Without ``intervals``, the ends of the bootstrap intervals stay NaN.
    """
    metric = metric or default_metric(runs)
    bare = unlabelled(runs)
    if bare and bare == {r.task for r in runs}:
        by = label_free_rule(runs, rule)
        rule, metric, bare = by if rule == ORACLE_RULE else rule, SCORE + by, set()
    labelled = [r for r in runs if r.task not in bare]
    others = shown_beside(labelled, metric)
    cells = {(c.label, c.task): c for c in select(labelled, rule, metric, others)}
    tasks = tuple(sorted({c.task for c in cells.values()}))
    labels = sorted({c.label for c in cells.values()})
    higher = higher_is_better(metric)
    grid = np.array([[cells[m, t].mean if (m, t) in cells else np.nan for t in tasks] for m in labels])
    told = {t: [c.beside for (_, task), c in cells.items() if task == t] for t in tasks} if others else {}
    having = [[t for t in tasks if not all(math.isnan(b[i]) for b in told[t])] for i in range(len(others))]
    rows = [
        _row(label, [cells[label, t] for t in tasks if (label, t) in cells], tasks, having, intervals)
        for label in labels
    ]
    # what sees target labels is ranked apart from what does not
    ranks = np.full(len(labels), np.nan)
    for mark in sorted({r.mark for r in rows}):
        members = [i for i, r in enumerate(rows) if r.mark == mark]
        ranks[members] = mean_ranks(grid[members], higher)
    ranked = [Row(**{**vars(r), "rank": float(k)}) for r, k in zip(rows, ranks)]
    ranked.sort(key=lambda r: (np.isnan(r.mean), -r.mean if higher else r.mean, r.label))
    if len(tasks) > 1 and shows_worst({Setting.of(r.setting) for r in labelled}, metric):
        ranked = [replace(r, beside=(*r.beside, _worst(cells, r.label, tasks))) for r in ranked]
        cells = {k: replace(c, beside=(*c.beside, c.mean)) for k, c in cells.items()}
        others = (*others, WORST)
    return Leaderboard(rule, metric, tasks, tuple(ranked), cells, tuple(sorted(bare)), others)


def unlabelled(runs: Sequence[Run]) -> set[str]:
    """Tasks whose target has no labels: some run succeeded, and none has a number."""
    done = {r.task for r in runs if r.ok}
    return done - {r.task for r in runs if r.ok and np.isfinite(r.target).any()}


def label_free_rule(runs: Sequence[Run], rule: str) -> str:
    """The validator that ranks methods without target labels: ``rule``, else the default, else any recorded one."""
    known = sorted({v for r in runs for v in r.validators})
    return next((v for v in (rule, DEFAULT_RULE) if v in known), known[0] if known else rule)


def _row(label: str, cells: list[Cell], tasks: Sequence[str], having: Sequence[Sequence[str]], intervals: bool) -> Row:
    """``having`` are the tasks over which each metric beside the shown one is a mean."""
    first, n_tasks = cells[0], len(tasks)
    good = [c for c in cells if len(c.values)]
    failed, total = sum(c.failed for c in cells), sum(c.total for c in cells)
    complete = len(good) == n_tasks
    problem = ""
    if not complete:
        missing = f"{len(good)} of {n_tasks} tasks"
        broken = any(c.failed and not len(c.values) for c in cells)
        problem = f"failed {failed} of {total} runs" if broken else f"incomplete: {missing}"
        absent = [d for d in dict.fromkeys(map(dataset_of, tasks)) if d not in {dataset_of(c.task) for c in cells}]
        problem = f"{ABSENT} {', '.join(absent)}" if absent and not broken else problem
    values = [c.values for c in good]
    of = {c.task: c.mean for c in good}
    averages = tuple(averages_of(of, tasks).values())
    mean, (low, high) = float("nan"), (float("nan"), float("nan"))
    if complete:
        mean = float(np.mean(averages))
        if intervals and max(map(len, values)) > 1:
            low, high = bootstrap_interval(values, datasets=[dataset_of(c.task) for c in good])
    marks = sorted({mark_of(c.setting) for c in cells} - {""})
    return Row(
        label=label,
        method=first.method,
        family=first.family,
        setting=", ".join(sorted({c.setting for c in cells})),
        mean=mean,
        low=low,
        high=high,
        rank=float("nan"),
        seconds=mean_of([c.seconds for c in cells]),
        cpu_seconds=mean_of([c.cpu_seconds for c in cells]),
        device_seconds=mean_of([c.device_seconds for c in cells]),
        selected_by=_joined([c.selected_by for c in good] or [c.selected_by for c in cells]),
        problem=problem,
        mark=", ".join(marks),
        seeds=max((len(v) for v in values), default=0),
        averages=averages,
        baseline=any(c.baseline for c in cells),
        reads_source=any(c.reads_source for c in cells),
        beside=tuple(_mean({c.task: c.beside[i] for c in cells}, of) for i, of in enumerate(having)),
    )


def _worst(cells: Mapping[tuple[str, str], Cell], label: str, tasks: Sequence[str]) -> float:
    """The least of a row's numbers; NaN where one is missing."""
    found = [cells[label, t].mean if (label, t) in cells else math.nan for t in tasks]
    return math.nan if np.isnan(found).any() else min(found)


def _mean(of: Mapping[str, float], tasks: Sequence[str]) -> float:
    """Mean over tasks, of several datasets over their means; NaN where there is no number on one of them."""
    return float(np.mean(tuple(averages_of(of, tasks).values())))


def _joined(rules: list[str]) -> str:
    kinds = sorted(set(rules))
    if len(kinds) == 1:
        return kinds[0]
    plain = [k for k in kinds if "undefined" not in k]
    if plain:
        return f"{plain[0]}, last where undefined"
    return next(k for k in kinds if "where undefined" in k)
