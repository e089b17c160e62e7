"""Runs as a selection needs them, and how a record becomes one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from dazoo.bench.metrics.formulas import SCORE
from dazoo.bench.records.store import Damage
from dazoo.core.setting import Setting

NONE = np.empty(0)


def choices(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``chosen`` and ``tops`` (runs, validators) of runs with the scores (runs, checkpoints, validators)."""
    known = np.where(scores == scores, scores, -np.inf)
    shape = (len(known), known.shape[2])
    return known.argmax(1) if known.shape[1] else np.zeros(shape, dtype=int), known.max(1, initial=-np.inf)


@dataclass(frozen=True, slots=True)
class Run:
    """One record, as compact as a selection needs it.

    ``scores`` (checkpoints, validators) and ``target`` (checkpoints, metrics) hold NaN where undefined. ``predicted``
    (checkpoints, 2) are the effective numbers of classes predicted on the target and in the source; NaN where unknown.
    ``idle`` names the loss terms that were zero all the time; ``flags`` are (kind, subject, text) of what the engine
    found wrong while it trained. ``chosen`` and ``tops`` are the checkpoint that each validator chooses and its score,
    minus infinity where the validator is undefined at all of them. ``baseline`` is that of ``RunSpec``, None where the
    record does not say. ``reads_source`` is that of ``RunSpec``.
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
    baseline: bool | None = None
    reads_source: bool = False
    chosen: np.ndarray = field(default_factory=lambda: NONE, repr=False)
    tops: np.ndarray = field(default_factory=lambda: NONE, repr=False)

    def __post_init__(self) -> None:
        if self.chosen is NONE:
            # for all validators at once: a page asks for every one of every run
            chosen, tops = choices(self.scores[None])
            object.__setattr__(self, "chosen", chosen[0])
            object.__setattr__(self, "tops", tops[0])

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


def as_baseline(run: Run) -> bool:
    """Whether a run is of a closed-set method where source and target have different classes."""
    return _assumed(run.method, run.setting) if run.baseline is None else run.baseline


@lru_cache(maxsize=4096)
def _assumed(method: str, setting: str) -> bool:
    """The same for records that do not say; False for methods that are not known here."""
    asked = Setting.of(setting)
    if asked.labels == "closed":
        return False
    from dazoo.bench.plan.question import closed_set_baseline
    from dazoo.methods.base import METHODS

    return method in METHODS and closed_set_baseline(METHODS.get(method), asked)


UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What reading a record raises that is valid JSON but no record of this version."""


def unreadable(error: Exception) -> str:
    """What is wrong with such a record, in words that follow "the record of run K"."""
    return f"lacks {error}" if isinstance(error, KeyError) else f"holds values of a wrong type ({error})"


def run_of(record: dict[str, Any], names: dict[tuple[str, ...], tuple[str, ...]]) -> Run:
    """The run of a record that has the shape of one; equal ``names`` are held once."""
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
        error=told_error(error),
        started=record["started"],
        seconds=float(record.get("seconds") or 0.0),
        validators=names.setdefault(validators, validators),
        metrics=names.setdefault(metrics, metrics),
        scores=_table(points, "scores", validators),
        target=_table(points, "target", metrics),
        predicted=_table([{"predicted": p.get("predicted") or {}} for p in points], "predicted", ("target", "source")),
        idle=idle_terms(record),
        flags=engine_flags(record),
        cpu_seconds=seconds_of(record.get("cpu_seconds")),
        device_seconds=seconds_of(record.get("device_seconds")),
        baseline=spec.get("baseline"),
        reads_source=bool(spec.get("reads_source")),
    )


def told_error(error: Mapping[str, Any]) -> str:
    """Why a run failed."""
    return f"{error.get('type')}: {error.get('message')}" if error else ""


def seconds_of(value: Any) -> float:
    """NaN for what older records lack, and on a CPU for what only a device spends."""
    return math.nan if value is None else float(value)


def idle_terms(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Loss terms of a record that were zero all the time."""
    curves = record.get("curves")
    return tuple(sorted(n for n, c in curves.items() if _idle(c))) if isinstance(curves, dict) else ()


def engine_flags(record: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
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
