"""What an adaptation ends with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dazoo.adaptation.expected import Expected
from dazoo.adaptation.judge import Trial, Verdict
from dazoo.core.shown import table
from dazoo.core.types import Prediction
from dazoo.data.task import Task
from dazoo.diagnosis import Diagnosis
from dazoo.engine.model import Model


@dataclass(frozen=True)
class Adaptation:
    """What ``adapt`` returns.

    Attributes:
        model: the chosen one, calibrated; reads raw samples by itself.
        predictions: of the target. trials: everything that was tried. verdict: the votes and the choice.
        expected: accuracy on the target. to_label: rows, entropy of the votes and votes by class.
        diagnosis: of the task; None where it could not be made. notes: what was understood. skipped: for want of time.
        measured: accuracy on target rows that have a label; None without any.
    """

    model: Model
    predictions: Prediction
    trials: tuple[Trial, ...]
    verdict: Verdict
    expected: Expected
    to_label: list[tuple[int, float, dict[int, int]]]
    diagnosis: Diagnosis | None
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    task: Task
    measured: float | None = None
    folder: Path | None = None

    @property
    def chosen(self) -> str:
        """Name of the chosen candidate."""
        return self.trials[self.verdict.chosen].name

    def _repr_html_(self) -> str:
        rows = [
            (
                t.name,
                f"{t.seconds:.1f}",
                "chosen" if i == self.verdict.chosen else self.verdict.vetoes.get(i, t.problem),
            )
            for i, t in enumerate(self.trials)
        ]
        return table(repr(self).strip("<>"), rows, ("candidate", "seconds", "remark"), self.notes)

    def __repr__(self) -> str:
        e = self.expected
        return (
            f"<adaptation: {self.chosen} of {len(self.trials)} candidates, expected accuracy {100 * e.value:.0f} % "
            f"({100 * e.low:.0f} to {100 * e.high:.0f})>"
        )
