"""Source only: train on the labelled source, look at nothing else.

    min_{F,C}  (1/n_s) sum_i loss(C(F(x_i)), y_i)

with cross-entropy for classes and squared error for values; x_i (d,), y_i scalar. As a shallow method it is the
suite's classifier on the source samples as they are. The lower bound that every adaptation has to beat.

Evidence: tests/test_baselines.py (published 1-NN row of Office-Caltech10 SURF, equality with scikit-learn).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Batch, Context, GradientMethod, Progress, ShallowMethod, register
from dazoo.methods.shallow import fit_classifier, source_of, source_x
from dazoo.nets.net import Net
from dazoo.shallow.steps import Pipeline


@register
class SourceOnly(GradientMethod, ShallowMethod):
    """Empirical risk minimisation on the source."""

    paper = Paper(
        title="The Nature of Statistical Learning Theory", authors="Vladimir N. Vapnik", year=1995,
        url="https://doi.org/10.1007/978-1-4757-2440-0", venue="Springer (Book)",
    )  # fmt: skip
    handles = Handles(target={"pool", "unseen"}, n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})
    uses_target = False
    on_disk = "both"

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        return Pipeline((), None, fit_classifier(seen, ctx, source_x(seen), source_of(seen).y))
