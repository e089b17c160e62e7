"""Several sources that are told apart, for methods that know one: a model is adapted from each, and they vote.

    p(x) = 1/S sum_s softmax(scores_s(x))

Liang et al., ICML 2020 (SHOT, multi-source), https://arxiv.org/abs/2002.08546
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dazoo.core.memo import Memo
from dazoo.core.types import Labeled, Prediction, Predictor, Seen
from dazoo.data.draw import rows_of
from dazoo.engine.outcome import Checkpoint, FitResult, Options
from dazoo.methods.base import GradientMethod


def parts_of_sources(seen: Seen) -> list[Seen]:
    """What may be seen of each source by itself: its samples, or where they are hidden what its model learns from."""
    setting = seen.setting.change(n_sources="one")
    if seen.origin is not None:
        return [dataclasses.replace(seen, origin=one, setting=setting, n_sources=1) for one in seen.origin.each]
    return [
        dataclasses.replace(
            seen, source=_of(seen.source, i), source_val=_of(seen.source_val, i), setting=setting, n_sources=1
        )
        for i in range(seen.n_sources)
    ]


def _of(part: Labeled | None, source: int) -> Labeled | None:
    """The samples of one source."""
    if part is None:
        return None
    rows = torch.nonzero(part.domain == source).squeeze(1)
    return Labeled(rows_of(part.x, rows), part.y[rows], torch.zeros_like(rows)) if len(rows) else None


@dataclass(frozen=True)
class MeanPredictor(Predictor):
    """Models of which each knows all classes: the mean of their probabilities, or of their values."""

    members: tuple[Predictor, ...]

    def predict(self, x: Tensor) -> Prediction:
        return _mean([m.predict(x) for m in self.members])

    def predict_source(self, x: Tensor) -> Prediction:
        return _mean([m.predict_source(x) for m in self.members])


def _mean(votes: list[Prediction]) -> Prediction:
    first = votes[0]
    if first.of_values:
        scores = torch.stack([v.scores for v in votes]).mean(0)
    else:
        scores = torch.stack([v.scores.log_softmax(1) for v in votes]).logsumexp(0)
    seen = [v.features for v in votes]
    features = None if any(f is None for f in seen) else torch.cat([f for f in seen if f is not None], 1)
    out = dataclasses.replace(first, scores=scores, features=features, prior=None, cluster=None)
    if first.unknown is None:
        return out
    # each model has a threshold of its own: what counts is how far above it a sample is
    above = torch.stack([v.unknown - (v.threshold or 0.0) for v in votes if v.unknown is not None])
    return dataclasses.replace(out, unknown=above.mean(0), threshold=0.0)


def fit_by_source(
    method: GradientMethod,
    seen: Seen,
    fit: Callable[..., FitResult],
    *,
    seed: int,
    options: Options,
    on_checkpoint: Callable[[Checkpoint], None] | None,
    memo: Memo,
    state: Path | None,
    progress: Callable[[int], None] | None,
) -> FitResult:
    """Adapt from every source by itself; checkpoints come at the end, since each needs all models."""
    made: list[FitResult] = []
    stops: list[list[Checkpoint]] = []
    for i, part in enumerate(parts_of_sources(seen)):
        stops.append([])
        own = memo(("source", i), lambda: Memo(memo.domains))
        kept = None if state is None else state.with_name(f"{state.name}.{i}")
        more: dict[str, Any] = {"on_checkpoint": stops[-1].append, "state": kept, "progress": progress}
        made.append(fit(method, part, seed=seed, options=options, memo=own, **more))
    if on_checkpoint is not None:
        for each in zip(*stops):
            predictor = MeanPredictor(tuple(c.predictor for c in each))
            on_checkpoint(Checkpoint(each[0].step, each[0].fraction, predictor))
    curves = {f"{name} {i + 1}": rows for i, result in enumerate(made) for name, rows in result.curves.items()}
    info = {
        **made[0].info,
        "fit_seconds": sum(r.info["fit_seconds"] for r in made),
        "models": len(made),
        "findings": [f for r in made for f in r.info.get("findings", [])],
        "starts": [r.info["start"] for r in made if "start" in r.info],
    }
    warnings = list(dict.fromkeys(w for r in made for w in r.warnings))
    return FitResult(MeanPredictor(tuple(r.predictor for r in made)), curves, warnings, info)
