"""Selection and regret run by run and cell by cell, as they were before columns: what columns are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from dazoo.bench.analysis.grid import mean_of
from dazoo.bench.analysis.regret import Regret, collapsed
from dazoo.bench.analysis.runs import Run
from dazoo.bench.analysis.select import Cell, rule_label
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.plan.suite import LAST, ORACLE_RULE


def select_rowwise(runs: Sequence[Run], rule: str, metric: str) -> list[Cell]:
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


def regrets_rowwise(
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
