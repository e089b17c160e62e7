"""MME: minimax entropy with a few target labels. Saito, Kim, Sclaroff, Darrell, Saenko, ICCV 2019.

    min_{F,W}    [CE(z(x_s), y_s) + CE(z(x_f), y_f)] / 2                      z(x) = W F(x) / (|F(x)| temperature)
    min_F max_W  trade_off * 1/b sum_i H(softmax(z(x_t,i)))

by gradient reversal: W (C, width), the head without its bias, moves towards the target's features by raising their
entropy; F gathers them around W's rows by lowering it. (x_f, y_f) are the few labelled target samples.

Evidence: tests/test_selftraining.py (terms equal transcriptions; body and head get opposite gradients).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.semi_supervised._cosine import FewLabels
from dazoo.nets.net import Net
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.reversal import reverse_gradient


@register
class MME(FewLabels):
    """Semi-supervised domain adaptation via minimax entropy."""

    paper = Paper(
        title="Semi-supervised Domain Adaptation via Minimax Entropy",
        authors="Kuniaki Saito, Donghyun Kim, Stan Sclaroff, Trevor Darrell, Kate Saenko",
        year=2019, url="https://arxiv.org/abs/1904.06487", venue="ICCV",
        deviations="labelled and unlabelled terms in one step of the optimiser, in the authors' program in two after "
        "each other, with twice as many unlabelled samples",
    )  # fmt: skip

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the entropy")
    temperature: float = hp(0.05, 0.02, 0.2, log=True, help="of the cosine classifier", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xf is not None
        fs, ft = net.features(b.xs, b.xt)
        return {**self.labelled(net, b, fs, net.body(b.xf)), "ent": self.minimax(net, ft)}

    def minimax(self, net: Net, ft: Tensor) -> Tensor:
        """Minus the weighted entropy of target features, whose gradient to the body is reversed."""
        return -self.trade_off * entropy_of_logits(self.scores(net, reverse_gradient(ft, 1.0))).mean()
