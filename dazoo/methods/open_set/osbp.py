"""OSBP: a class of unknown samples, found by back-propagation. Saito, Yamamoto, Ushiku, Harada, ECCV 2018.

    min_{F,C}  CE(C(F(x_s)), y_s)          C has K + 1 scores, the last one for "unknown"
    min_C max_F  trade_off * -1/b sum_j [t log q_j + (1 - t) log(1 - q_j)],     q_j = softmax(C(F(x_t,j)))_(K+1)

by gradient reversal: C holds the probability of "unknown" of target rows at t = 0.5; F moves every row away from it, to
the known classes or to the unknown one. A row is answered "unknown" where that score is the largest of the K + 1.

Evidence: tests/test_parity.py (osbp_unknown_bce), tests/test_open_set.py (body and classifier get opposite gradients;
an answer is that of the K + 1 scores).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.methods.open_set._extra import extra_class, open_prediction, open_scores
from dazoo.nets.net import Net
from dazoo.ops.openset import osbp
from dazoo.ops.reversal import reverse_gradient


@register
class OSBP(GradientMethod):
    """Open set domain adaptation by back-propagation."""

    paper = Paper(
        title="Open Set Domain Adaptation by Backpropagation",
        authors="Kuniaki Saito, Shohei Yamamoto, Yoshitaka Ushiku, Tatsuya Harada",
        year=2018, venue="ECCV", url="https://arxiv.org/abs/1804.10427",
    )  # fmt: skip
    handles = Handles(labels="open", n_sources={"one", "many"})
    neutral = None

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    boundary: float = hp(0.5, 0.1, 0.9, help="probability of unknown at which the classifier holds target rows")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return extra_class(width)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        reversed_ = reverse_gradient(ft, self.trade_off * t.ramp)
        return {
            "cls": net.criterion(open_scores(net, fs), b.ys),
            "unknown": osbp(open_scores(net, reversed_), self.boundary),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return open_prediction(net, x)
