"""Balanced weighting of source and few target samples. Wu and Dietterich, ICML 2004.

    min_f  gamma (1/n_f) sum_i loss(f(x_t,i), y_t,i)  +  (1 - gamma) (1/n_s) sum_j loss(f(x_s,j), y_s,j)

over the n_f labelled target and the n_s source samples: however few the target samples are, together they count as
much as gamma says. The suite's classifier is fitted with these sample weights.

Evidence: tests/test_boosting.py::test_balanced_weighting_equals_scikit_learn.
"""

from __future__ import annotations

import torch

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.reweighting._boost import both
from dazoo.methods.shallow import inner_of, trained
from dazoo.shallow.steps import Pipeline


@register
class BalancedWeighting(ShallowMethod):
    """Balanced weighting of source and few target samples."""

    paper = Paper(
        title="Improving SVM Accuracy by Training on Auxiliary Data Sources",
        authors="Pengcheng Wu, Thomas G. Dietterich", year=2004, url="https://doi.org/10.1145/1015330.1015436",
        venue="ICML", deviations="any weighted classifier instead of the paper's linear programme for SVMs",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})

    gamma: float = hp(0.5, 0.05, 0.95, help="share of the labelled target samples in the loss")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """One weighted fit."""
        if not 0 < self.gamma < 1:
            raise DazooError(f"balanced_weighting.gamma must lie strictly between 0 and 1, not {self.gamma}")
        x, y, n_s = both(seen)
        few = torch.arange(len(x), device=x.device) >= n_s
        weights = torch.where(few, self.gamma / (len(x) - n_s), (1 - self.gamma) / n_s).to(x.dtype)
        return Pipeline((), None, trained(seen, ctx, x, y, weights, lambda: inner_of(seen, ctx)))
