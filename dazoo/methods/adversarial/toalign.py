"""ToAlign: align the target with the part of the source features that the task uses. Wei, Lan, Zeng, Zhang, Chen,
NeurIPS 2021.

    min_{F,C} max_D  CE(C(f_s), y_s) - trade_off * r(t) * [BCE(D(p(f'_s)), 1) + BCE(D(p(f_t)), 0)] / 2
    f'_s = |f_s| / |w_y * f_s| * (w_y * f_s),   p(f) = softmax(C(f))

w_y (width,) is the head's row of the sample's class, the gradient of its score with respect to the features f (width,),
taken as a constant; the target's features enter whole. D is a perceptron C -> disc_width -> disc_width -> 1 logit.

Evidence: tests/test_adversarial.py (transcription; positive features keep their norm and are f at equal weights).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial.dann import DANN
from dazoo.methods.base import Batch, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.games import positive_features
from dazoo.ops.reversal import reverse_gradient


@register
class ToAlign(DANN):
    """Task-oriented alignment on top of DANN."""

    paper = Paper(
        title="ToAlign: Task-oriented Alignment for Unsupervised Domain Adaptation",
        authors="Guoqiang Wei, Cuiling Lan, Wenjun Zeng, Zhizheng Zhang, Zhibo Chen",
        year=2021, url="https://arxiv.org/abs/2106.10812", venue="NeurIPS",
        deviations="on the paper's DANNP base (discriminator on predictions), without HDA's extra heads",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(n_classes, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        used = positive_features(fs, net.head.weight[b.ys])
        p = net.head(torch.cat([used, ft])).softmax(1)
        d = net.disc(reverse_gradient(p, self.trade_off * t.ramp)).squeeze(-1)
        return {"cls": net.criterion(net.head(fs), b.ys), "dom": domain_bce(d, len(fs))}
