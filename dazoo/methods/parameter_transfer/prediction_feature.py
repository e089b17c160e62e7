"""PRED: the source model's prediction as a feature of the target's model. Daumé III, ACL 2007.

    h_s = fit on the source,     p_s(x) = softmax(h_s(x))
    h_t = fit on { ([x_i, p_s(x_i)], y_i) : labelled target samples }

The target's model sees d + C features, x (d,) and the source model's class probabilities (C,), or its value (1,), and
is trained on the few labelled target samples alone.

One of the baselines of the paper.

Evidence: tests/test_parameter_transfer.py::test_pred_equals_scikit_learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.parameter_transfer._few import few_of, source_head
from dazoo.shallow.steps import Append, Head, Pipeline, Step, run_steps


@dataclass(frozen=True, eq=False)
class Predicted(Step):
    """The class probabilities (n, C) of ``head``, or its values (n, 1) where ``values``."""

    head: Head
    values: bool

    def __call__(self, x: Tensor) -> Tensor:
        scores = self.head(x)
        return scores if self.values else torch.softmax(scores, 1)


@register
class PredictionFeature(ShallowMethod):
    """The source model's prediction as a feature of the target's model."""

    paper = Paper(
        title="Frustratingly Easy Domain Adaptation", authors="Hal Daumé\u00a0III", year=2007,
        url="https://aclanthology.org/P07-1033/", venue="ACL",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit the source, append its predictions, fit the few target samples."""
        x, y = few_of(seen)
        steps = (Append((Predicted(source_head(seen, ctx), seen.regression),)),)
        head = ctx.classifier.fit(run_steps(steps, x), y, seen.n_classes, gen=ctx.gen, warn=ctx.warn)
        return Pipeline(steps, None, head)
