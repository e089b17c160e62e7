"""What went wrong in runs that did not fail: found in the records, without a new run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dazoo.bench.analysis.compare import paired, seed_spread
from dazoo.bench.analysis.regret import collapsed
from dazoo.bench.analysis.runs import Run, engine_flags, idle_terms
from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.significance import ENOUGH, LEVEL, holm, signed_ranks, wilcoxon
from dazoo.bench.analysis.table import mark_of

MARGIN = 0.01
INERT = "inert term"
BASELINES = "baseline"
"""Family of the methods that do not adapt; no other may fall below those of them that see no target label."""
WIDE = 0.03
"""Standard deviation over seeds, as a share of the range of the metric, below which no method is called unstable."""


@dataclass(frozen=True, order=True)
class Finding:
    """``kind`` is collapse, inert term, saturated discriminator, blind discriminator, negative transfer, below baseline
    or unstable; ``task`` is empty for all tasks together."""

    kind: str
    label: str
    task: str
    text: str


def findings(
    runs: Sequence[Run], cells: Mapping[tuple[str, str], Cell], higher: bool, share: bool, measured: bool = True
) -> list[Finding]:
    """All findings about the selected models, sorted.

    Args:
        cells: selected cells by (label, task).
        higher: whether higher values of the metric are better. share: whether it is a share in [0, 1].
        measured: whether it was computed with target labels; a label-free score shows no negative transfer.
    """
    models = {(r.label, r.task, r.trial, r.seed): r for r in runs if r.ok}
    chosen = {
        key: [(models[(*key, c.trial, seed)], point) for seed, point in zip(c.seeds, c.picks)]
        for key, c in cells.items()
    }  # fmt: skip
    found = [
        f
        for key, picks in chosen.items()
        for f in (*_collapse(key, picks), *_inert(key, picks), *_discriminators(key, picks))
    ]
    worse = _negative(cells, higher) if measured else []
    if share:
        worse += [*_below_baseline(cells, higher, {f.label for f in worse if not f.task}), *_unstable(cells)]
    return sorted([*found, *worse])


def check_run(record: Mapping[str, Any]) -> list[Finding]:
    """Findings about one run from its record alone, whatever version wrote it; see ``noted``."""
    spec = record["spec"]
    return sorted(Finding(f["kind"], spec["label"], spec["task"], f["text"]) for f in noted(record))


def noted(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """What a record's ``findings`` hold, from its ``info``, ``curves`` and ``checkpoints``: kind, subject and text.

    Inert terms and discriminators as the engine noted them, terms that were zero all the time, and collapse of the last
    checkpoint (a page judges the checkpoint that was selected).
    """
    flags = engine_flags(dict(record))
    named = {subject for kind, subject, _ in flags if kind == INERT}
    found = [*flags, *((INERT, n, _zero(n)) for n in idle_terms(dict(record)) if n not in named)]
    points = record.get("checkpoints") or []
    last = (points[-1].get("predicted") if points else None) or {}
    shares = np.array([last.get("target", np.nan), last.get("source", np.nan)], dtype=float)
    if bool(collapsed(shares)):
        found.append(("collapse", "", f"the last model predicts few classes only: {_few(shares)}"))
    return [{"kind": kind, "subject": subject, "text": text} for kind, subject, text in found]


def _collapse(key: tuple[str, str], picks: Sequence[tuple[Run, int]]) -> list[Finding]:
    seen = np.array([run.predicted[point] for run, point in picks]).reshape(-1, 2)
    bad = collapsed(seen)
    if not bad.any():
        return []
    worst = seen[bad][seen[bad][:, 0].argmin()]
    text = f"with {bad.sum()} of {len(seen)} seeds the selected model predicts few classes only: {_few(worst)}"
    return [Finding("collapse", *key, text)]


def _few(predicted: np.ndarray) -> str:
    return f"effectively {predicted[0]:.1f}, where the source has {predicted[1]:.1f}"


def _inert(key: tuple[str, str], picks: Sequence[tuple[Run, int]]) -> list[Finding]:
    """Terms that did nothing with any seed."""
    noted = [{subject: text for kind, subject, text in run.flags if kind == INERT} for run, _ in picks]
    idle = [set(run.idle) | set(flags) for (run, _), flags in zip(picks, noted)]
    always = sorted(set.intersection(*idle)) if idle else []
    return [Finding(INERT, *key, noted[0].get(n) or _zero(n)) for n in always]


def _zero(term: str) -> str:
    return f"the loss term {term!r} was zero whenever it was logged"


def _discriminators(key: tuple[str, str], picks: Sequence[tuple[Run, int]]) -> list[Finding]:
    """What the engine noted about discriminators, where it did so with more than half of the seeds."""
    texts: dict[tuple[str, str], list[str]] = {}
    for run, _ in picks:
        for kind, subject, text in run.flags:
            if kind != INERT:
                texts.setdefault((kind, subject), []).append(text)
    return [
        Finding(kind, *key, f"with {len(told)} of {len(picks)} seeds {told[0]}")
        for (kind, _), told in sorted(texts.items())
        if 2 * len(told) > len(picks)
    ]


def _negative(cells: Mapping[tuple[str, str], Cell], higher: bool) -> list[Finding]:
    """Methods below a label-free baseline: on average, as the tasks tell, and on single tasks, as their seeds tell.

    The tests of averages, against every baseline, are one family for Holm's correction and those of single tasks
    another, each at half of ``LEVEL`` where there are both: in a suite without a worse method anybody is accused with a
    probability of at most ``LEVEL``.
    """
    against = _against_baselines(cells, higher)
    overall = [(name, label, "", _by_tasks(of.values())) for (name, label), of in against.items()]
    single = [(name, label, t, _by_seeds([of[t]])) for (name, label), of in against.items() for t in sorted(of)]
    level = LEVEL / max(sum(any(not math.isnan(p) for *_, p in family) for family in (overall, single)), 1)
    found = []
    for family, basis in ((overall, "tasks"), (single, "seeds")):
        for (name, label, task, _), p in zip(family, holm([p for *_, p in family])):
            if p < level:
                of = against[name, label]
                mean = abs(float(np.mean([d.mean() for t, d in of.items() if task in ("", t)])))
                over = "" if task else f" on average over {len(of)} tasks"
                text = f"below {name} by {mean:.3f}{over} (p = {p:.2g} over {basis}, corrected)"
                found.append(Finding("negative transfer", label, task, text))
    return found


def _against_baselines(
    cells: Mapping[tuple[str, str], Cell], higher: bool
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Differences to label-free baselines, below zero where worse, by (baseline, label), sorted, and by task."""
    found = [c for c in cells.values() if c.family == BASELINES and len(c.values)]
    base = [(c.label, c) for c in found if not mark_of(c.setting)]
    most = max((len(c.values) for c in cells.values()), default=0)
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for name in {label for label, _ in base}:
        against = {c.task: c for label, c in base if label == name}
        for (label, task), cell in cells.items():
            if cell.family != BASELINES and len(cell.values) and task in against:
                groups.setdefault((name, label), {})[task] = paired(cell, against[task], higher, most)
    return dict(sorted(groups.items()))


def _below_baseline(cells: Mapping[tuple[str, str], Cell], higher: bool, known: Collection[str]) -> list[Finding]:
    """Methods whose mean over tasks is more than ``MARGIN`` below a baseline, without the tasks having shown it.

    A statement about this table, not about other tasks; made for averages of at least ``ENOUGH`` tasks, and for fewer
    where seeds, which are no tasks, show that it would come out again on the same tasks.
    """
    against = {k: of for k, of in _against_baselines(cells, higher).items() if len(of) > 1}
    found = []
    for ((name, label), of), p in zip(against.items(), holm([_by_seeds(of.values()) for of in against.values()])):
        gap = -float(np.mean([d.mean() for d in of.values()]))
        again = p < LEVEL / 2
        if gap > MARGIN and label not in known and (again or len(of) >= ENOUGH):
            text = f"below {name} by {gap:.3f} on average over {len(of)} tasks, which no test over tasks confirms"
            text += f"; seeds alone show it for these very tasks (p = {p:.2g}, corrected)" if again else ""
            found.append(Finding("below baseline", label, "", text))
    return found


def _by_tasks(groups: Collection[np.ndarray]) -> float:
    """One-sided p value that differences are below zero, from their means per task; NaN below ``ENOUGH`` tasks."""
    differences = np.array([g.mean() for g in groups])
    if len(differences) < ENOUGH:
        return float("nan")
    half = wilcoxon(differences)[1] / 2
    return half if signed_ranks(differences) < 0 else 1 - half


def _by_seeds(groups: Collection[np.ndarray]) -> float:
    """The same for these very tasks, from the seeds; NaN where there are fewer than two or they do not differ."""
    spread = seed_spread(list(groups))
    if math.isnan(spread.error) or spread.error == 0:
        return float("nan")
    half = spread.p() / 2
    return half if spread.mean < 0 else 1 - half


def _unstable(cells: Mapping[tuple[str, str], Cell]) -> list[Finding]:
    """Cells whose spread over seeds is beyond what the median spread of the same task explains.

    ``(n - 1) s^2 / m^2`` against the chi-squared law with ``m`` the larger of the task's median standard deviation
    (corrected for the median of that law) and ``WIDE``, Holm-corrected; cells below three seeds are not judged.
    """
    from scipy.stats import chi2

    judged = [(k, c) for k, c in cells.items() if len(c.values) > 2]
    free = np.array([len(c.values) - 1 for _, c in judged], dtype=int)
    stds = [c.std for _, c in judged]
    medians = {n: float(chi2.median(n)) for n in set(free.tolist())}
    spreads: dict[str, list[float]] = {}
    for (key, _), n, std in zip(judged, free.tolist(), stds):
        spreads.setdefault(key[1], []).append(std * math.sqrt(n / medians[n]))
    usual = {task: max(float(np.median(found)), WIDE) for task, found in spreads.items()}
    over = [n * (std / usual[key[1]]) ** 2 for (key, _), n, std in zip(judged, free.tolist(), stds)]
    p = chi2.sf(np.array(over), free).tolist()
    found = []
    for (key, cell), value in zip(judged, holm(p)):
        if value < LEVEL:
            text = (
                f"standard deviation {cell.std:.3f} over {len(cell.values)} seeds "
                f"({cell.values.min():.3f} to {cell.values.max():.3f}), where {usual[key[1]]:.3f} is usual"
            )
            found.append(Finding("unstable", *key, text))
    return found
