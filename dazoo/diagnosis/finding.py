"""What a diagnosis finds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dazoo.diagnosis.advice import Advice
from dazoo.diagnosis.classes import ClassReport, LabelShift
from dazoo.diagnosis.domains import DomainShift


@dataclass(frozen=True)
class Diagnosis:
    """All findings about a task. Nothing in here depends on a hidden label.

    Attributes:
        n_source, n_target, dims, n_classes: of the task; ``n_classes`` is 0 for regression. ``class_names``
            are those of the rows of ``labels``.
        used_source, used_target: how many samples were looked at, drawn at random beyond the limit.
        kind: ``none``, ``features``, ``labels`` or ``both``; see ``advice.kind_of``; ``apart`` where source and target
            have different features, so that no distance between them exists (NaN).
        domains: distances between source and target. sources: A-distance of every source of several.
        classes: each class on the source. skill: held-out skill on the source (``classes.skill_of``), 0 at chance and 1
            without error; None for regression. r2: held-out R^2 of ridge regression on the source; None for classes.
        labels: the test of class proportions; None for regression.
        scores: transferability scores by name. scored_on: the labelled samples they were computed on.
        advice: which families should help and why. notes: limits of what was computed. thresholds: of the advice.
    """

    task: str
    setting: str
    n_source: int
    n_target: int
    dims: int
    n_classes: int
    class_names: tuple[str, ...]
    used_source: int
    used_target: int
    kind: str
    domains: DomainShift
    sources: tuple[tuple[str, float], ...]
    classes: tuple[ClassReport, ...]
    skill: float | None
    r2: float | None
    labels: LabelShift | None
    scores: dict[str, float]
    scored_on: str
    advice: tuple[Advice, ...]
    notes: tuple[str, ...]
    thresholds: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
