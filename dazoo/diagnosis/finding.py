"""What a diagnosis finds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dazoo.core.shown import table
from dazoo.diagnosis.advice import Advice
from dazoo.diagnosis.classes import ClassReport, LabelShift
from dazoo.diagnosis.domains import DomainShift

WORDS = {
    "none": "no shift found",
    "features": "the features differ",
    "labels": "class proportions differ",
    "apart": "source and target have different features",
    "both": "features and perhaps class proportions differ",
}


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        helps = [m for a in self.advice if a.verdict == "should help" for m in a.methods]
        advice = f"; try {', '.join(helps[:4])}" if helps else ""
        skill = "" if self.skill is None else f", skill on the source {self.skill:.2f}"
        apart = "" if self.kind == "apart" else f" (A-distance {self.domains.a_distance:.2f} of 2)"
        return f"<diagnosis of {self.task}: {WORDS[self.kind]}{apart}{skill}{advice}>"

    def _repr_html_(self) -> str:
        d = self.domains
        rows: list[tuple[object, ...]] = [("what differs", WORDS[self.kind])]
        if self.kind != "apart":
            rows += [
                ("A-distance (0 alike, 2 apart)", f"{d.a_distance:.2f} (p = {d.a_p:.2g})"),
                ("MMD²", f"{d.mmd2:.4f} (p = {d.mmd_p:.2g})"),
                ("source that counts under weights", f"{d.overlap:.0%}"),
            ]
        rows += [("class proportions alike", f"p = {self.labels.p:.2g}")] if self.labels is not None else []
        rows += [("skill on the source (0 chance, 1 no error)", self.skill)] if self.skill is not None else []
        rows += [(a.verdict, f"{', '.join(a.families)}: {', '.join(a.methods)}; {a.because}") for a in self.advice]
        return table(f"diagnosis of {self.task}", rows, notes=self.notes)

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
