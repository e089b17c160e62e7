"""Target oracle: train on half of the target with its labels, test on the other half. Not a competitor.

    min_{F,C}  (1/n_f) sum_i loss(C(F(x_i)), y_i)    over the n_f labelled target samples of the oracle setting

An upper bound on what adaptation could reach with this representation, network and recipe; every table marks it.

Evidence: tests/test_baselines.py (equality with scikit-learn on the labelled half; sees no source).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Batch, Context, GradientMethod, Progress, ShallowMethod, register
from dazoo.nets.net import Net
from dazoo.shallow.steps import Pipeline


@register
class TargetOracle(GradientMethod, ShallowMethod):
    """Supervised learning on the target."""

    paper = Paper(
        title="A theory of learning from different domains",
        authors=(
            "Shai Ben-David, John Blitzer, Koby Crammer, Alex Kulesza, Fernando Pereira, "
            "Jennifer Wortman\u00a0Vaughan"
        ),
        year=2010,
        url="https://doi.org/10.1007/s10994-009-5152-4", venue="Machine Learning Journal",
        deviations="half of the target's labels are used, so that the rest can be tested on",
    )  # fmt: skip
    handles = Handles(marked="half")
    targets = frozenset({"classes", "values"})
    uses_source = False
    uses_target = False

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        if seen.few is None:
            raise DazooError("target_oracle needs labelled target samples; run it in the oracle setting")
        x = seen.few.x.to(torch.float64)
        return Pipeline((), None, ctx.classifier.fit(x, seen.few.y, seen.n_classes, gen=ctx.gen, warn=ctx.warn))
