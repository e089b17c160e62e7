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

from dazoo.bench.analysis.read import read_runs as read_runs
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.runs import Runs as Runs
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.metrics.registry import primary
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


def select(runs: Sequence[Run], rule: str, metric: str) -> list[Cell]:
    """One cell per label and task; ``runs`` in the order of ``read_runs``."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.label, run.task), []).append(run)
    return [_select_cell(group, rule, metric) for group in groups.values()]


def _select_cell(group: list[Run], rule: str, metric: str) -> Cell:
    """A trial counts only if it succeeded with every seed; among those the best mean score over seeds wins."""
    seeds = sorted({r.seed for r in group})
    trials: dict[int, dict[int, Run]] = {}
    for run in group:
        if run.ok:
            trials.setdefault(run.trial, {})[run.seed] = run
    best: tuple[float, int] | None = None
    chosen: list[tuple[Run, int, bool]] = []
    for trial, members in sorted(trials.items()):
        if len(members) < len(seeds):
            continue
        picks = [(members[s], *_pick(members[s], rule, metric)) for s in seeds]
        quality = _mean([score for _, _, score in picks])
        if best is None or quality > best[0]:
            best = (quality, trial)
            chosen = [(run, point, math.isfinite(score)) for run, point, score in picks]
    values = np.array([run.metric(metric)[point] for run, point, _ in chosen])
    if np.isnan(values).any():  # the target has no labels, or the validator no score
        values, chosen = np.empty(0), []
    first, good = group[0], [r for r in group if r.ok]
    failures = [r for r in group if not r.ok]
    return Cell(
        label=first.label,
        method=first.method,
        family=first.family,
        task=first.task,
        setting=first.setting,
        values=values,
        trial=best[1] if best else 0,
        seeds=tuple(run.seed for run, _, _ in chosen),
        picks=tuple(point for _, point, _ in chosen),
        failed=len(failures),
        total=len(group),
        errors=tuple(dict.fromkeys(r.error for r in failures)),
        seconds=mean_of([r.seconds for r in good]),
        cpu_seconds=mean_of([r.cpu_seconds for r in good]),
        device_seconds=mean_of([r.device_seconds for r in good]),
        selected_by=rule_label(rule, [bool(defined) for _, _, defined in chosen]),
    )


def mean_of(values: Sequence[float]) -> float:
    """The mean of the values that are no NaN; NaN where there are none."""
    known = [v for v in values if not math.isnan(v)]
    return _mean(known) if known else math.nan


def _mean(values: Sequence[float]) -> float:
    """``np.mean`` of a few numbers, bit for bit, at a third of its time."""
    return float(np.add.reduce(values)) / len(values)


def _pick(run: Run, rule: str, metric: str) -> tuple[int, float]:
    """The chosen checkpoint and its score; the last checkpoint and minus infinity where no score is defined."""
    last = len(run.target) - 1
    if rule == LAST:
        return last, 0.0
    if rule != ORACLE_RULE:
        i = run.validators.index(rule) if rule in run.validators else -1
        top = float(run.tops[i]) if i >= 0 else -np.inf
        return (int(run.chosen[i]), top) if top != -np.inf else (last, top)
    scores = run.metric(metric) if higher_is_better(metric) else -run.metric(metric)
    if np.isnan(scores).all():
        return last, -np.inf
    point = int(np.nanargmax(scores))
    return point, float(scores[point])


def rule_label(rule: str, defined: Sequence[bool]) -> str:
    """What really selected: the rule, or ``last`` where the rule had no score to go by."""
    if rule == ORACLE_RULE:
        return ORACLE_LABEL
    if rule == LAST or all(defined):
        return rule
    return f"{rule}, last where undefined" if any(defined) else f"last ({rule} undefined)"
