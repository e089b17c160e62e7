"""Fine-tuning: parameter transfer with three groups of parameters, fixed, fine-tuned and new.

    theta_0 = argmin source loss (the source-only model of the same seed and recipe)
    min_theta  (1/n_f) sum_i loss(f_theta(x_i), y_i)   from theta_0, over the n_f labelled target samples, with
        fixed parameters        rate 0            the backbone, where ``fix_backbone`` is set
        fine-tuned parameters   rate lr * tuned_lr   the rest of the body
        new parameters          rate lr           the head, initialised anew (or kept, where ``new_head`` is off)

Evidence: tests/test_finetune.py (each group moves at its rate, the fixed one not at all; the knob changes the weights).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class FineTune(GradientMethod):
    """Plain fine-tuning of the source model on a few target labels."""

    paper = Paper(
        title="How transferable are features in deep neural networks?",
        authors="Jason Yosinski, Jeff Clune, Yoshua Bengio, Hod Lipson",
        year=2014, url="https://arxiv.org/abs/1411.1792", venue="NeurIPS",
        deviations="the head is kept from the source model by default, since the classes are the same",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    uses_source = False
    uses_target = False

    tuned_lr: float = hp(
        0.1, 0.01, 1.0, log=True, structural=True, help="rate of the fine-tuned group, relative to new parameters"
    )
    fix_backbone: bool = hp(False, choices=(False, True), help="keep the backbone fixed")
    new_head: bool = hp(False, choices=(False, True), help="initialise the head anew instead of keeping the source's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.tuned_lr, **({"body.backbone": 0.0} if self.fix_backbone else {})}

    def setup(self, net: Net) -> None:
        if self.new_head:
            nn.init.normal_(net.head.weight, std=0.01)
            nn.init.zeros_(net.head.bias)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}
