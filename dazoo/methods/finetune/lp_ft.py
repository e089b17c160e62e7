"""LP-FT: first a linear probe, then fine-tuning from it. Kumar, Raghunathan, Jones, Ma, Liang, ICLR 2022.

    (W_0, b_0) = argmin_{W,b} 1/n_f sum_i loss(W F_s(x_i) + b, y_i)            F_s (n, width) the source model's, fixed
    min_{F,W,b}               1/n_f sum_i loss(W F(x_i) + b, y_i)              from (F_s, W_0, b_0)

over the n_f labelled target samples. The first line is the method linear_probe, from which this one starts.

Evidence: tests/test_finetune.py (starts at the probe's parameters, bit for bit; every part moves at the tuned rate).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class LPFT(GradientMethod):
    """Linear probing, then fine-tuning."""

    paper = Paper(
        title="Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution",
        authors="Ananya Kumar, Aditi Raghunathan, Robbie Jones, Tengyu Ma, Percy Liang",
        year=2022, url="https://arxiv.org/abs/2202.10054", venue="ICLR",
        deviations="the pretrained features are the source-only model's; as many steps for each half as other methods "
        "have in all",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "linear_probe"
    uses_source = False
    uses_target = False

    tuned_lr: float = hp(0.1, 0.01, 1.0, log=True, structural=True, help="rate in the second half, over the probe's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.tuned_lr, "head": self.tuned_lr}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}
