"""PADA: an adversary that attends to the classes which the target seems to hold. Cao, Ma, Long, Wang, ECCV 2018.

    min_{F,C} max_D  sum_i w_{y_i} CE(C(F(x_s,i)), y_i) / sum_i w_{y_i}
        - trade_off * r(t) * [1/b sum_i w_{y_i} BCE(D(F(x_s,i)), 1) + 1/b sum_j w' BCE(D(F(x_t,j)), 0)] / 2
    w = v / max_c v_c,   v = mean over all target samples of softmax(C(F(x_t)) / temperature),   w' = mean_i w_{y_i}

w (C,) is 1 for all classes in the first pass over the data and renewed after every pass. D is a perceptron width ->
disc_width -> disc_width -> 1. With equal weights it is DANN.

Evidence: tests/test_parity.py (pda_pada_weights, pda_pada_loss), tests/test_partial.py (transcription; equal weights
give DANN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.partial import class_weights, weighted_cross_entropy
from dazoo.ops.reversal import reverse_gradient


@register
class PADA(GradientMethod):
    """Partial adversarial domain adaptation."""

    paper = Paper(
        title="Partial Adversarial Domain Adaptation", authors="Zhangjie Cao, Lijia Ma, Mingsheng Long, Jianmin Wang",
        year=2018, url="https://arxiv.org/abs/1808.04205", venue="ECCV",
        deviations="class weights are renewed after every pass over the data instead of every 500 iterations; target "
        "rows weigh as much as the batch's source rows do on average",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    neutral = {"temperature": 1e12}  # equal weights

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    temperature: float = hp(1.0, 0.1, 2.0, log=True, help="sharpens predictions before they count", positive=True)
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        scores = look.target[1]
        return {"weights": class_weights(scores, self.temperature) if look.step else torch.ones_like(scores[0])}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = b.memory["weights"][b.ys]
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        rows = torch.cat([w, w.mean().expand(ft.shape[0])])
        return {
            "cls": weighted_cross_entropy(net.head(fs), b.ys, w),
            "dom": domain_bce(d, len(fs), rows),
        }
