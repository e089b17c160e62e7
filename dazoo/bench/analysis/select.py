"""Selection is a query over records: which trial and which checkpoint of every run counts, by which rule.

A rule is the name of a validator, ``last`` (no selection) or ``oracle`` (the target metric itself: it looks at target
labels and is always labelled so).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.grid import Choice, Grid
from dazoo.bench.analysis.read import read_runs as read_runs
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.runs import Runs as Runs
from dazoo.bench.metrics.registry import beside, primary
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.core.setting import Setting

ORACLE_LABEL = "oracle (target labels)"


@dataclass(frozen=True)
class Cell:
    """A method on a task: the selected runs, or why there are none.

    Attributes:
        values: metric of the selected checkpoint per seed; empty where the method has no number.
        trial: the selected trial. seeds: in the order of ``values``. picks: selected checkpoint per seed.
        failed, total: runs of this cell that failed, and all of them. errors: their messages, each once.
        selected_by: the rule that really chose.
        seconds, cpu_seconds, device_seconds: of a run on average; NaN where no record tells.
        baseline: whether the method assumes a closed set, and the task has none.
        reads_source: whether the method reads source samples at set-up that the setting hides.
        beside: the metrics that stand beside the shown one, each a mean over seeds; NaN where there is none.
    """

    label: str
    method: str
    family: str
    task: str
    setting: str
    values: np.ndarray
    trial: int
    seeds: tuple[int, ...]
    picks: tuple[int, ...]
    failed: int
    total: int
    errors: tuple[str, ...]
    seconds: float
    selected_by: str
    cpu_seconds: float = math.nan
    device_seconds: float = math.nan
    baseline: bool = False
    reads_source: bool = False
    beside: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over seeds, NaN where there is no number."""
        return float(self.values.mean()) if len(self.values) else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation over seeds (n-1), NaN below two seeds."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else float("nan")


def default_metric(runs: Sequence[Run]) -> str:
    """The metric that stands for the setting of most runs; for values the root mean squared error."""
    if any("rmse" in r.metrics for r in runs):
        return "rmse"
    named = Counter(primary(Setting.of(s)) for s in {r.setting for r in runs})
    return named.most_common(1)[0][0] if named else "accuracy"


def shown_beside(runs: Sequence[Run], metric: str) -> tuple[str, ...]:
    """The recorded metrics that tables show beside ``metric``."""
    settings = [Setting.of(s) for s in sorted({r.setting for r in runs})]
    recorded = [name for names in dict.fromkeys(r.metrics for r in runs) for name in names]
    return beside(settings, metric, recorded, values="rmse" in recorded)


def select(runs: Sequence[Run], rule: str, metric: str, others: Sequence[str] = ()) -> list[Cell]:
    """One cell per label and task; ``runs`` in the order of ``read_runs``. ``others`` are metrics of the same
    checkpoints, for ``Cell.beside``."""
    return cells_of(Grid(runs).select(rule, metric), others)


def cells_of(choice: Choice, others: Sequence[str] = ()) -> list[Cell]:
    """What a rule selects, cell by cell."""
    grid, found = choice.grid, []
    for i, facts in enumerate(grid.facts):
        runs, points, values, defined = choice.selected.get(i, NOTHING)
        found.append(
            Cell(
                values=values,
                trial=choice.trial.get(i, 0),
                seeds=tuple(grid.runs[j].seed for j in runs.tolist()),
                picks=tuple(points.tolist()),
                selected_by=rule_label(choice.rule, defined.tolist()),
                beside=tuple(float(np.mean(grid.metric(n)[runs, points])) if len(runs) else math.nan for n in others),
                **facts,
            )
        )
    return found


NOTHING = (np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0, bool))


def rule_label(rule: str, defined: Sequence[bool]) -> str:
    """What really selected: the rule, or ``last`` where the rule had no score to go by."""
    if rule == ORACLE_RULE:
        return ORACLE_LABEL
    if rule == LAST or all(defined):
        return rule
    return f"{rule}, last where undefined" if any(defined) else f"last ({rule} undefined)"
