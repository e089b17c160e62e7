"""BitFit: fine-tuning of the biases and the head alone. Ben Zaken, Ravfogel, Goldberg, ACL 2022.

    min_{b, C}  1/n_f sum_i loss(C(F_{W,b}(x_i)), y_i)   from the source model, weights W of the body fixed

b are the body's bias vectors, those of normalisation layers included; (x_i, y_i) the n_f labelled target samples.

Evidence: tests/test_finetune.py (biases and head move, all other parameters keep their bits).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net


@register
class BitFit(GradientMethod):
    """Bias-term fine-tuning."""

    paper = Paper(
        title="BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models",
        authors="Elad Ben\u00a0Zaken, Shauli Ravfogel, Yoav Goldberg",
        year=2022, url="https://arxiv.org/abs/2106.10199", venue="ACL",
        deviations="any network in place of a transformer; a body without biases leaves the head alone to learn",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})
    start = "source_only"
    uses_source = False
    uses_target = False

    bias_lr: float = hp(1.0, 0.1, 10.0, log=True, structural=True, help="rate of the biases, over the head's")

    def part_lr(self) -> dict[str, float]:
        return {"body": self.bias_lr}

    def setup(self, net: Net) -> None:
        for name, p in net.body.named_parameters():
            p.requires_grad_(name.rsplit(".", 1)[-1] == "bias")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None and b.yf is not None
        return {"cls": net.criterion(net.head(net.body(b.xf)), b.yf)}
