"""Linear probe: feature transfer. The body learned on the source stays as it is; a new head learns few target labels.

    min_{W,b}  (1/n_f) sum_i loss(W F_s(x_i) + b, y_i)      F_s fixed, (x_i, y_i) the n_f labelled target samples

F_s is the body (backbone and bottleneck) of the source-only model of the same seed and recipe, W (C, width), b (C,).

Evidence: tests/test_finetune.py (the body's weights do not move, the head's do; equals logistic regression's optimum).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class LinearProbe(GradientMethod):
    """A new linear head on a frozen body."""

    paper = Paper(
        title="How transferable are features in deep neural networks?",
        authors="Jason Yosinski, Jeff Clune, Yoshua Bengio, Hod Lipson",
        year=2014, url="https://arxiv.org/abs/1411.1792", venue="NeurIPS",
        deviations="the fixed body is the source-only model's, not one of a third data set",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    fresh = ("head",)
    uses_source = False
    uses_target = False

    def part_lr(self) -> dict[str, float]:
        return {"body": 0.0}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}
