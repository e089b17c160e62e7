"""Labelled target: train on the few labelled target samples, look at nothing else. The baseline of labels.

    min_C  (1/n_f) sum_i loss(C(x_i), y_i)           over the labelled target samples x_i (d_t,), y_i

the suite's classifier without a source. Where source and target have different features, this is what a source has to
improve on: a method below it has done harm.

Evidence: tests/test_heterogeneous.py::test_labelled_target_is_the_classifier_on_the_few.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.heterogeneous._maps import few_target
from dazoo.methods.shallow import trained
from dazoo.shallow.steps import Head, run_steps


@dataclass(frozen=True, eq=False)
class OfTarget(Predictor):
    """A model of the target's space; it knows nothing of source samples and scores all classes alike."""

    head: Head
    n_classes: int

    def predict(self, x: Tensor) -> Prediction:
        z = run_steps((), x)
        return Prediction(self.head(z), z)

    def predict_source(self, x: Tensor) -> Prediction:
        return Prediction(run_steps((), x).new_zeros(len(x), self.n_classes))


@register
class LabelledTarget(ShallowMethod):
    """The classifier on the labelled target samples alone."""

    paper = Paper(
        title="The Nature of Statistical Learning Theory", authors="Vladimir N. Vapnik", year=1995,
        url="https://doi.org/10.1007/978-1-4757-2440-0", venue="Springer (Book)",
        deviations="no gain at the defaults: the baseline that uses no source",
    )  # fmt: skip
    handles = Handles(marked="few", spaces="own")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit the few."""
        x, y = few_target(seen)
        return OfTarget(trained(seen, ctx, x, y), seen.n_classes)
