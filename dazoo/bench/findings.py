"""What went wrong in runs that did not fail: found in the records, without a new run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.compare import paired, seed_spread
from dazoo.bench.regret import collapsed
from dazoo.bench.select import Cell, Run
from dazoo.bench.significance import holm, wilcoxon
from dazoo.bench.table import MARKS

LEVEL = 0.05
BASELINES = "baseline"
"""Family of the methods that do not adapt; no other may fall below those of them that see no target label."""
WIDE = 0.03
"""Standard deviation over seeds, as a share of the range of the metric, below which no method is called unstable."""


@dataclass(frozen=True, order=True)
class Finding:
    """``kind`` is collapse, inert term, negative transfer or unstable; ``task`` is empty for all tasks together."""

    kind: str
    label: str
    task: str
    text: str


def findings(runs: Sequence[Run], cells: Mapping[tuple[str, str], Cell], higher: bool, share: bool) -> list[Finding]:
    """All findings about the selected models, sorted.

    Args:
        cells: selected cells by (label, task).
        higher: whether higher values of the metric are better. share: whether it is a share in [0, 1].
    """
    models = {(r.label, r.task, r.trial, r.seed): r for r in runs if r.ok}
    chosen = {
        key: [(models[(*key, c.trial, seed)], point) for seed, point in zip(c.seeds, c.picks)]
        for key, c in cells.items()
    }  # fmt: skip
    found = [f for key, picks in chosen.items() for f in (*_collapse(key, picks), *_inert(key, picks))]
    return sorted([*found, *_negative(cells, higher), *(_unstable(cells) if share else [])])


def _collapse(key: tuple[str, str], picks: Sequence[tuple[Run, int]]) -> list[Finding]:
    seen = np.array([run.predicted[point] for run, point in picks]).reshape(-1, 2)
    bad = collapsed(seen)
    if not bad.any():
        return []
    worst = seen[bad][seen[bad][:, 0].argmin()]
    text = (
        f"with {bad.sum()} of {len(seen)} seeds the selected model predicts few classes only: effectively "
        f"{worst[0]:.1f}, where the source has {worst[1]:.1f}"
    )
    return [Finding("collapse", *key, text)]


def _inert(key: tuple[str, str], picks: Sequence[tuple[Run, int]]) -> list[Finding]:
    idle = [set(run.idle) for run, _ in picks]
    always = sorted(set.intersection(*idle)) if idle else []
    return [Finding("inert term", *key, f"the loss term {n!r} was zero whenever it was logged") for n in always]


def _negative(cells: Mapping[tuple[str, str], Cell], higher: bool) -> list[Finding]:
    """Methods below every label-free baseline, on all tasks together and task by task, Holm-corrected within each."""
    base = [(c.label, c) for c in cells.values() if c.family == BASELINES and c.setting not in MARKS]
    names = sorted({label for label, _ in base})
    if not names:
        return []
    most = max(len(c.values) for c in cells.values())
    found = []
    for name in names:
        against = {c.task: c for label, c in base if label == name and len(c.values)}
        groups: dict[str, dict[str, np.ndarray]] = {}
        for (label, task), cell in cells.items():
            if cell.family != BASELINES and len(cell.values) and task in against:
                groups.setdefault(label, {})[task] = paired(cell, against[task], higher, most)
        labels = sorted(groups)
        overall = holm([_below(list(groups[m].values())) for m in labels])
        for label, p in zip(labels, overall):
            if p < LEVEL:
                mean = float(np.mean([g.mean() for g in groups[label].values()]))
                text = f"below {name} by {_size(mean)} on average over {len(groups[label])} tasks (p = {p:.2g})"
                found.append(Finding("negative transfer", label, "", text))
        pairs = [(m, t) for m in labels for t in sorted(groups[m])]
        single = holm([_below([groups[m][t]]) for m, t in pairs])
        for (label, task), p in zip(pairs, single):
            if p < LEVEL:
                text = f"below {name} by {_size(float(groups[label][task].mean()))} (p = {p:.2g})"
                found.append(Finding("negative transfer", label, task, text))
    return found


def _size(mean: float) -> str:
    return f"{abs(mean):.3f}"


def _below(groups: Sequence[np.ndarray]) -> float:
    """One-sided p value that paired differences are below zero; NaN where nothing can be said.

    From the seeds where there are at least two with any spread, else from the tasks (at least six of them).
    """
    spread = seed_spread(groups)
    if not math.isnan(spread.error) and spread.error > 0:
        half = spread.p() / 2
        return half if spread.mean < 0 else 1 - half
    differences = np.array([g.mean() for g in groups])
    if len(differences) < 6:
        return float("nan")
    half = wilcoxon(differences)[1] / 2
    return half if float(np.median(differences)) < 0 else 1 - half


def _unstable(cells: Mapping[tuple[str, str], Cell]) -> list[Finding]:
    """Cells whose spread over seeds is beyond what the median spread of the same task explains.

    ``(n - 1) s^2 / m^2`` against the chi-squared law with ``m`` the larger of the task's median standard deviation
    (corrected for the median of that law) and ``WIDE``, Holm-corrected; cells below three seeds are not judged.
    """
    from scipy.stats import chi2

    judged = [(k, c) for k, c in cells.items() if len(c.values) > 2]
    usual: dict[str, float] = {}
    for task in {k[1] for k, _ in judged}:
        stds = [c.std * math.sqrt((n := len(c.values) - 1) / chi2.median(n)) for k, c in judged if k[1] == task]
        usual[task] = max(float(np.median(stds)), WIDE)
    p = [float(chi2.sf((len(c.values) - 1) * (c.std / usual[k[1]]) ** 2, len(c.values) - 1)) for k, c in judged]
    found = []
    for (key, cell), value in zip(judged, holm(p)):
        if value < LEVEL:
            text = (
                f"standard deviation {cell.std:.3f} over {len(cell.values)} seeds "
                f"({cell.values.min():.3f} to {cell.values.max():.3f}), where {usual[key[1]]:.3f} is usual"
            )
            found.append(Finding("unstable", *key, text))
    return found
