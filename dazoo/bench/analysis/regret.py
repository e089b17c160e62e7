"""What a selection rule costs: a query over records that looks at target labels after everything is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import Cell
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.plan.suite import LAST, ORACLE_RULE

COLLAPSED = 1 / 3


def collapsed(predicted: np.ndarray) -> np.ndarray:
    """Whether models put the target into far fewer classes than the source has, by the effective numbers of both.

    ``(target - 1) < (source - 1) / 3``: below 4 of 10 balanced classes, or more than 92 % of one of two.

    Args:
        predicted: (..., 2), target and source.
    """
    result: np.ndarray = (predicted[..., 0] - 1) < COLLAPSED * (predicted[..., 1] - 1)
    return result


@dataclass(frozen=True)
class Regret:
    """A rule over all methods and tasks that have a number under the oracle; target labels are seen by none of them.

    Attributes:
        mean: of the metric under the rule. oracle: of the metric of the best trial and checkpoint.
        regret: what the rule loses against the oracle, at least 0 up to trials that one of them cannot use.
        correlation: mean over cells of Spearman's rank correlation between scores and the metric over all checkpoints
            of all trials and seeds; NaN for ``last``, and where nothing varies.
        collapsed: share of the selected models that are collapsed, NaN where records do not tell.
        cells: how many methods on tasks it is a mean of. undefined: in how many of these the rule had no score.
    """

    rule: str
    mean: float
    oracle: float
    regret: float
    correlation: float
    collapsed: float
    cells: int
    undefined: int


def regrets(
    runs: Sequence[Run], boards: Mapping[str, Mapping[tuple[str, str], Cell]], metric: str, hidden: Sequence[str] = ()
) -> list[Regret]:
    """One entry per rule of ``boards`` (cells by rule), least regret first; the oracle's own entry is the last.

    Args:
        hidden: settings whose methods see target labels; they are left out.
    """
    best = {k: c for k, c in boards[ORACLE_RULE].items() if len(c.values) and c.setting not in hidden}
    groups: dict[tuple[str, str], list[Run]] = {k: [] for k in best}
    for run in runs:
        if run.ok and (run.label, run.task) in groups:
            groups[run.label, run.task].append(run)
    fits = _correlations(groups, metric)
    models = {(r.label, r.task, r.trial, r.seed): r for r in runs if r.ok}
    found = [_regret(rule, cells, best, fits.get(rule, []), models, metric) for rule, cells in boards.items()]
    return sorted(found, key=lambda r: (r.rule == ORACLE_RULE, math.isnan(r.regret), r.regret, r.rule))


def _regret(
    rule: str,
    cells: Mapping[tuple[str, str], Cell],
    best: Mapping[tuple[str, str], Cell],
    correlations: Sequence[float],
    models: Mapping[tuple[str, str, int, int], Run],
    metric: str,
) -> Regret:
    sign = 1.0 if higher_is_better(metric) else -1.0
    both = [(cells[k], c) for k, c in best.items() if k in cells and len(cells[k].values)]
    picks = [
        models[c.label, c.task, c.trial, seed].predicted[point]
        for c, _ in both
        for seed, point in zip(c.seeds, c.picks)
    ]  # fmt: skip
    known = np.array([p for p in picks if not np.isnan(p).any()]).reshape(-1, 2)
    mean = float(np.mean([c.mean for c, _ in both])) if both else float("nan")
    oracle = float(np.mean([o.mean for _, o in both])) if both else float("nan")
    return Regret(
        rule=rule,
        mean=mean,
        oracle=oracle,
        regret=sign * (oracle - mean),
        correlation=float(np.mean(correlations)) if correlations else float("nan"),
        collapsed=float(collapsed(known).mean()) if len(known) else float("nan"),
        cells=len(both),
        undefined=sum(c.selected_by == f"{LAST} ({rule} undefined)" for c, _ in both),
    )


def _correlations(groups: Mapping[tuple[str, str], list[Run]], metric: str) -> dict[str, list[float]]:
    """Spearman's correlations by validator, one per cell in which score and metric both vary."""
    sign = 1.0 if higher_is_better(metric) else -1.0
    found: dict[str, list[float]] = {}
    for group in groups.values():
        target = sign * np.concatenate([r.metric(metric) for r in group])
        names = list(dict.fromkeys(v for r in group for v in r.validators))
        if not names:
            continue
        scores = np.stack([np.concatenate([r.score(n) for r in group]) for n in names])
        for name, value in zip(names, _spearman(scores, target)):
            if not math.isnan(value):
                found.setdefault(name, []).append(float(value))
    return found


def _spearman(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rank correlations (V,) of each row of ``scores`` (V, n) with ``target`` (n,), over the finite values of both."""
    from scipy.stats import rankdata

    finite = np.isfinite(scores) & np.isfinite(target)
    out = np.full(len(scores), np.nan)
    # rows with the same gaps, nearly always none, are ranked together
    for gaps in np.unique(finite, axis=0):
        rows = np.flatnonzero((finite == gaps).all(1))
        if gaps.sum() < 3:
            continue
        x = rankdata(scores[np.ix_(rows, gaps)], axis=1)
        y = rankdata(target[gaps])
        x, y = x - x.mean(1, keepdims=True), y - y.mean()
        size = np.sqrt((x * x).sum(1) * float(y @ y))
        out[rows] = np.divide(x @ y, size, out=np.full(len(rows), np.nan), where=size > 0)
    return out
