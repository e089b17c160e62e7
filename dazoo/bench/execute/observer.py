"""What stands around one run while it trains: its data, its method, and the looks at its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dazoo.bench.analysis.findings import noted
from dazoo.bench.execute.clock import Spent, Stopwatch
from dazoo.bench.execute.evaluate import evaluate, priors
from dazoo.bench.execute.left_out import Inner
from dazoo.bench.metrics.formulas import effective_classes
from dazoo.bench.metrics.registry import over_labels
from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.records.keep import Keeper
from dazoo.core.types import Seen
from dazoo.data.task import Task
from dazoo.engine.fit import Checkpoint, FitResult
from dazoo.engine.left_out import at
from dazoo.methods.base import Method
from dazoo.validators.base import Evidence, score_all

NOTHING_LEFT = (
    "the method saw every target label, so that none is left to test on; label more, say which labels it may see, or "
    "give a test part"
)


@dataclass
class Observer:
    """One run under observation.

    Attributes:
        notes: a row for every checkpoint, filled by ``look``.
        inner: what models say that were trained without one of the sources.
        device: where the run trains. looking, keeping: spent on scores and metrics, and on keeping outputs.
    """

    spec: RunSpec
    task: Task
    seen: Seen
    method: Method
    notes: list[dict[str, Any]]
    keeper: Keeper
    warnings: list[str] = field(default_factory=list)
    device: str = "cpu"
    inner: Inner = field(default_factory=Inner)
    looking: Spent = field(default_factory=Spent)
    keeping: Spent = field(default_factory=Spent)

    def look(self, point: Checkpoint) -> None:
        """Score a checkpoint and keep what it predicts."""
        watch = Stopwatch(self.device)
        left_out = at(self.inner.parts, len(self.notes))
        evidence, seen = Evidence(point.predictor, self.seen, left_out=left_out), point.seen or self.seen
        known = (seen.target.x, evidence.target)
        target = evaluate(self.task, point.predictor, known, strict=False, asked=seen.asked)
        target |= point.measured if target else {}
        grown = evidence if point.seen is None else Evidence(point.predictor, seen, evidence.target)
        scores, problems = score_all(self.spec.protocol.validators, grown)
        problems += [] if target or seen.few is None else [NOTHING_LEFT]
        if seen.asked is not None:
            target |= over_labels(seen.setting, len(seen.asked), target, [n["target"] for n in self.notes])
        self.warnings.extend(p for p in problems if p not in self.warnings)
        note = {"step": point.step, "fraction": point.fraction, "scores": scores, "target": target}
        # elsewhere nobody knows how many classes there should be
        alike = self.seen.setting.labels == "closed" and not evidence.without_target
        self.notes.append(note | {"predicted": predicted_classes(evidence) if alike else None})
        self.looking += watch.spent()
        watch = Stopwatch(self.device)
        self.keeper.add(len(self.notes) - 1, point.step, point.fraction, evidence, point.predictor)
        self.keeping += watch.spent()

    def close(self, result: FitResult, spent: Spent) -> dict[str, Any]:
        """What the run's record says of a fit that took ``spent`` beside all looking and keeping."""
        watch = Stopwatch()
        kept = self.keeper.finish(len(self.notes), Evidence(result.predictor, self.seen))
        self.keeping += watch.spent()
        problem = [self.keeper.problem] if self.keeper.problem else []
        # losses are single precision: more digits would only fill the records
        curves = {name: [(step, float(f"{v:.7g}")) for step, v in curve] for name, curve in result.curves.items()}
        measured: dict[str, Any] = {"curves": curves, "info": result.info | self.inner.to_json()}
        if self.seen.setting.labels == "shifted":
            last = Evidence(result.predictor, self.seen).target
            measured["info"] = {**result.info, "prior": priors(self.task, last)}
        shown = {} if self.seen.few is None else {"few": {"rows": len(self.seen.few), "drawn": self.task.draws}}
        return (
            measured
            | shown
            | {
                "findings": noted(measured | {"checkpoints": self.notes}),
                "warnings": [*result.warnings, *self.warnings, *problem],
                "kept": kept,
                **spent.to_json(),
                "seconds_evaluation": self.looking.wall,
                "seconds_keeping": self.keeping.wall,
            }
        )


def predicted_classes(evidence: Evidence) -> dict[str, float] | None:
    """Effective number of classes (exp of the entropy of their shares) predicted on the target, and among the source's
    labels; None for regression. No label of the target is needed.
    """
    if evidence.n_classes == 0:
        return None
    labels = evidence.source_labels
    found = effective_classes(evidence.target.labels.numpy(), evidence.n_classes)
    known = float(evidence.n_classes) if labels is None else effective_classes(labels.cpu().numpy(), evidence.n_classes)
    return {"target": round(found, 6), "source": round(known, 6)}
