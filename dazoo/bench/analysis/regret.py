"""What a selection rule costs: a query over records that looks at target labels after everything is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.grid import Choice, Grid
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.plan.suite import LAST, ORACLE_RULE

COLLAPSED = 1 / 3
BLOCK = 1 << 20
"""Scores that are ranked at a time."""


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


def regrets(grid: Grid, choices: Mapping[str, Choice], hidden: Sequence[str] = ()) -> list[Regret]:
    """One entry per rule of ``choices``, least regret first; the oracle's own entry is the last.

    Args:
        choices: what each rule selects by the same metric, the oracle among them.
        hidden: settings whose methods see target labels; they are left out.
    """
    best = choices[ORACLE_RULE]
    shown = [i for i in best.selected if grid.facts[i]["setting"] not in hidden]
    fits = correlations(grid, sorted(shown), best.metric)
    found = [_regret(choice, best, sorted(shown), fits.get(rule, [])) for rule, choice in choices.items()]
    return sorted(found, key=lambda r: (r.rule == ORACLE_RULE, math.isnan(r.regret), r.regret, r.rule))


def _regret(choice: Choice, best: Choice, shown: Sequence[int], fits: Sequence[float]) -> Regret:
    rule, sign = choice.rule, 1.0 if higher_is_better(choice.metric) else -1.0
    both = [i for i in shown if i in choice.selected]
    picks = np.empty((0, 2))
    if both:
        runs, points = (np.concatenate([choice.selected[i][k] for i in both]) for k in (0, 1))
        picks = choice.grid.predicted[runs, points]
    known = picks[~np.isnan(picks).any(1)]
    mean = float(np.mean(choice.mean[both])) if both else float("nan")
    oracle = float(np.mean(best.mean[both])) if both else float("nan")
    return Regret(
        rule=rule,
        mean=mean,
        oracle=oracle,
        regret=sign * (oracle - mean),
        correlation=float(np.mean(fits)) if fits else float("nan"),
        collapsed=float(collapsed(known).mean()) if len(known) else float("nan"),
        cells=len(both),
        undefined=int(choice.undefined[both].sum()) if rule not in (LAST, ORACLE_RULE) else 0,
    )


def correlations(grid: Grid, cells: Sequence[int], metric: str) -> dict[str, list[float]]:
    """Spearman's correlations by validator, one per cell in which score and metric both vary.

    Cells whose runs have the same validators and equally many checkpoints are ranked together.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    alike: dict[tuple[tuple[tuple[str, ...], ...], int], list[int]] = {}
    good = {i: [grid.runs[j] for j in grid.members[i] if grid.runs[j].ok] for i in cells}
    for i, group in good.items():
        kinds = tuple(dict.fromkeys(r.validators for r in group))
        alike.setdefault((kinds, sum(len(r.target) for r in group)), []).append(i)
    found = {name: np.full(len(grid.places), np.nan) for name in grid.validators}
    for (kinds, n), several in alike.items():
        names = list(dict.fromkeys(name for names in kinds for name in names))
        size = max(1, BLOCK // max(n * len(names), 1))
        for batch in (several[k : k + size] for k in range(0, len(several), size)) if names else ():
            runs = [r for i in batch for r in good[i]]
            target = sign * np.concatenate([r.metric(metric) for r in runs]).reshape(len(batch), n)
            if len(kinds) == 1:
                scores = np.concatenate([r.scores for r in runs])
            else:
                scores = np.concatenate([np.stack([r.score(name) for name in names], 1) for r in runs])
            fits = spearman(scores.reshape(len(batch), n, len(names)).transpose(0, 2, 1), target)
            for name, column in zip(names, fits.T):
                found[name][batch] = column
    known = {name: values[~np.isnan(values)].tolist() for name, values in found.items()}
    return {name: values for name, values in known.items() if values}


def spearman(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rank correlations (B, V) of ``scores`` (B, V, n) with ``target`` (B, n), over the finite values of both."""
    finite = np.isfinite(scores) & np.isfinite(target)[:, None]
    out = np.full(scores.shape[:2], np.nan)
    whole = finite.all((1, 2))
    out[whole] = _spearman(scores[whole], target[whole])
    for b in np.flatnonzero(~whole):
        # rows with the same gaps are ranked together
        for gaps in np.unique(finite[b], axis=0):
            rows = np.flatnonzero((finite[b] == gaps).all(1))
            out[b, rows] = _spearman(scores[b][np.ix_(rows, gaps)][None], target[b, gaps][None])[0]
    return out


def _spearman(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    n = target.shape[1]
    if n < 3 or not len(target):
        return np.full(scores.shape[:2], np.nan)
    x, y = ranks(scores) - (n + 1) / 2, ranks(target) - (n + 1) / 2  # all sums below are exact
    size = np.sqrt((x * x).sum(2) * (y * y).sum(1)[:, None])
    return np.divide((x @ y[:, :, None])[:, :, 0], size, out=np.full(size.shape, np.nan), where=size > 0)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, 1 for the least, ties averaged."""
    order = np.argsort(values, axis=-1)
    found = np.empty(values.shape)
    np.put_along_axis(found, order, np.arange(1.0, values.shape[-1] + 1), axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    tied = (ordered[..., 1:] == ordered[..., :-1]).any(-1)
    if tied.any():
        from scipy.stats import rankdata

        found[tied] = rankdata(values[tied], axis=-1)
    return found
