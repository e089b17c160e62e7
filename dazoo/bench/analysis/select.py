"""Selection is a query over records: which trial and which checkpoint of every run counts, by which rule.

A rule is the name of a validator, ``last`` (no selection) or ``oracle`` (the target metric itself: it looks at target
labels and is always labelled so).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dazoo.bench.analysis.metrics import SCORE, higher_is_better
from dazoo.bench.plan.beside import suite_of
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.records.shape import fault
from dazoo.bench.records.store import Damage, records

ORACLE_LABEL = "oracle (target labels)"


@dataclass(frozen=True, slots=True)
class Run:
    """One record, as compact as a selection needs it.

    ``scores`` (checkpoints, validators) and ``target`` (checkpoints, metrics) hold NaN where undefined. ``predicted``
    (checkpoints, 2) are the effective numbers of classes predicted on the target and in the source; NaN where unknown.
    ``idle`` names the loss terms that were zero all the time; ``flags`` are (kind, subject, text) of what the engine
    found wrong while it trained. ``chosen`` and ``tops`` are the checkpoint that each validator chooses and its score,
    minus infinity where the validator is undefined at all of them.
    """

    key: str
    label: str
    method: str
    family: str
    task: str
    setting: str
    seed: int
    trial: int
    variant: str
    ok: bool
    error: str
    started: str
    seconds: float
    validators: tuple[str, ...]
    metrics: tuple[str, ...]
    scores: np.ndarray
    target: np.ndarray
    predicted: np.ndarray
    idle: tuple[str, ...]
    flags: tuple[tuple[str, str, str], ...] = ()
    cpu_seconds: float = math.nan
    device_seconds: float = math.nan
    chosen: np.ndarray = field(init=False, repr=False)
    tops: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # for all validators at once: a page asks for every one of every run
        known = np.where(self.scores == self.scores, self.scores, -np.inf)
        object.__setattr__(self, "chosen", known.argmax(0) if len(known) else np.zeros(known.shape[1], dtype=int))
        object.__setattr__(self, "tops", known.max(0, initial=-np.inf))

    def score(self, validator: str) -> np.ndarray:
        """Scores (checkpoints,) of one validator."""
        return _column(self.scores, self.validators, validator)

    def metric(self, name: str) -> np.ndarray:
        """Values (checkpoints,) of one target metric, or of a validator's score where the name says so."""
        if name.startswith(SCORE):
            return self.score(name.removeprefix(SCORE))
        return _column(self.target, self.metrics, name)


@dataclass
class Runs:
    """All runs of a result folder.

    Attributes:
        runs: sorted by label, task, trial and seed.
        damage: unusable lines. superseded: records of an earlier form of the suite, left out.
    """

    runs: list[Run] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)
    superseded: int = 0


def read_runs(folder: str | Path, look: Callable[[Mapping[str, Any]], None] | None = None) -> Runs:
    """Runs of a result folder: one per key, for every label only its newest variant on each of the datasets, and of
    runs that differ in nothing but hyper-parameters, as after a change of a default, only the newest.

    Args:
        look: called with every record that counts when it is read; of several with one key, the last call counts.
    """
    out = Runs()
    best: dict[str, Run] = {}
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    for record in records(folder, out.damage):
        problem = fault(record)
        if problem:
            out.damage.places.append(f"the record of run {record.get('key')} {problem}")
            continue
        try:
            run = _run(record, names)
            old = best.get(run.key)
            if old is None or (run.ok, run.started) > (old.ok, old.started):
                if look is not None:
                    look(record)
                best[run.key] = run
        except UNREADABLE as error:
            out.damage.places.append(f"the record of run {record.get('key')} {unreadable(error)}")
    suite, _ = suite_of(Path(folder))
    of_suite = {k: r for k, r in best.items() if suite is None or dataset_of(r.task) in suite.labels}
    newest: dict[tuple[str, str], tuple[str, str]] = {}
    for run in of_suite.values():
        place = (run.label, dataset_of(run.task))
        newest[place] = max(newest.get(place, ("", "")), (run.started, run.variant))
    # where a default has changed, the same trial with the same seed has a run at the old and one at the new value
    kept: dict[tuple[str, str, str, int, int], Run] = {}
    for run in of_suite.values():
        cell = (run.label, run.task, run.setting, run.seed, run.trial)
        current = run.variant == newest[run.label, dataset_of(run.task)][1]
        if current and (cell not in kept or run.started > kept[cell].started):
            kept[cell] = run
    out.runs = list(kept.values())
    out.superseded = len(best) - len(out.runs)
    out.runs.sort(key=lambda r: (r.label, r.task, r.trial, r.seed))
    return out


def dataset_of(task: str) -> str:
    """The dataset of a task as its suite calls it: how the task's name begins."""
    return task.partition("/")[0]


UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading a record raises that is valid JSON but no record of this version."""


def unreadable(error: Exception) -> str:
    """What is wrong with such a record, in words that follow "the record of run K"."""
    return f"lacks {error}" if isinstance(error, KeyError) else f"holds values of a wrong type ({error})"


def _run(record: dict[str, Any], names: dict[tuple[str, ...], tuple[str, ...]]) -> Run:
    spec, points = record["spec"], record.get("checkpoints") or []
    validators = tuple(points[0]["scores"]) if points else ()
    metrics = tuple(points[0]["target"]) if points else ()
    error = record.get("error") or {}
    return Run(
        key=record["key"],
        label=spec["label"],
        method=spec["method"],
        family=spec["family"],
        task=spec["task"],
        setting=spec["setting"],
        seed=spec["seed"],
        trial=spec["trial"],
        variant=record["variant"],
        ok=record["status"] == "ok" and bool(points),
        error=f"{error.get('type')}: {error.get('message')}" if error else "",
        started=record["started"],
        seconds=float(record.get("seconds") or 0.0),
        validators=names.setdefault(validators, validators),
        metrics=names.setdefault(metrics, metrics),
        scores=_table(points, "scores", validators),
        target=_table(points, "target", metrics),
        predicted=_table([{"predicted": p.get("predicted") or {}} for p in points], "predicted", ("target", "source")),
        idle=idle_terms(record),
        flags=engine_flags(record),
        cpu_seconds=_seconds(record.get("cpu_seconds")),
        device_seconds=_seconds(record.get("device_seconds")),
    )


def _seconds(value: Any) -> float:
    """NaN for what older records lack, and on a CPU for what only a device spends."""
    return math.nan if value is None else float(value)


def idle_terms(record: dict[str, Any]) -> tuple[str, ...]:
    """Loss terms of a record that were zero all the time."""
    curves = record.get("curves")
    return tuple(sorted(n for n, c in curves.items() if _idle(c))) if isinstance(curves, dict) else ()


def engine_flags(record: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """(kind, subject, text) of what the engine noted about a run while it trained."""
    noted = (record.get("info") or {}).get("findings") or []
    return tuple((f["kind"], f["subject"], f["text"]) for f in noted)


def _idle(curve: Any) -> bool:
    """Whether a loss term was exactly zero at every step that was logged, of at least five; a damaged curve is not."""
    pairs = isinstance(curve, list) and all(isinstance(at, (list, tuple)) and len(at) == 2 for at in curve)
    return pairs and len(curve) >= 5 and not any(value for _, value in curve)


def _table(points: list[dict[str, Any]], part: str, names: tuple[str, ...]) -> np.ndarray:
    same = all(len(point[part]) == len(names) and tuple(point[part]) == names for point in points)
    rows = [list(point[part].values()) if same else [point[part].get(name) for name in names] for point in points]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(names))


def _column(table: np.ndarray, names: tuple[str, ...], name: str) -> np.ndarray:
    if name not in names:
        return np.full(len(table), np.nan)
    column: np.ndarray = table[:, names.index(name)]
    return column


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
    """Accuracy where there are classes, else the root mean squared error."""
    return "rmse" if any("rmse" in r.metrics for r in runs) else "accuracy"


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
