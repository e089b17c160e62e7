"""IWAN: a first discriminator finds source samples without counterpart, a second plays without them. Zhang, Ding, Li,
Ogunbona, CVPR 2018.

    min_{D'}  [1/b sum_i BCE(D'(f_i), 1) + 1/b sum_j BCE(D'(f_j), 0)] / 2                       (f as constants)
    min_{F,C} max_D  CE(C(f_s), y_s) + entropy_weight * mean_j H(C(f_j))
        - trade_off * r(t) * [1/b sum_i w_i BCE(D(f_i), 1) + 1/b sum_j BCE(D(f_j), 0)] / 2
    w_i = (1 - D'(f_i)) / mean_i (1 - D'(f_i))

f = F(x) (b, width), i over the source batch, j over the target's. D (``disc``) and D' (``weigher``) are perceptrons
width -> disc_width -> disc_width -> 1. With a constant D' it is DANN with an entropy term.

Evidence: tests/test_parity.py (pda_iwan), tests/test_partial.py (transcription; a constant D' gives DANN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.partial import outlier_weights
from dazoo.ops.reversal import reverse_gradient


@register
class IWAN(GradientMethod):
    """Importance weighted adversarial nets."""

    paper = Paper(
        title="Importance Weighted Adversarial Nets for Partial Domain Adaptation",
        authors="Jing Zhang, Zewei Ding, Wanqing Li, Philip Ogunbona", year=2018,
        url="https://arxiv.org/abs/1803.09210", venue="CVPR",
        deviations="both domains share a body that learns from the start, in the paper the source's is fixed after "
        "training and the target's begins from it; trade_off is 1 as for DANN, in the paper its final value is 0.1",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of both discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        widths = (width, self.disc_width, self.disc_width, 1)
        return {"disc": mlp(*widths), "weigher": mlp(*widths)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        f, n = torch.cat([fs, ft]), fs.shape[0]
        far = net.weigher(f.detach()).squeeze(-1)
        rows = torch.cat([outlier_weights(far[:n]), torch.ones_like(far[n:])])
        d = net.disc(reverse_gradient(f, self.trade_off * t.ramp)).squeeze(-1)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "dom": domain_bce(d, n, rows),
            "weigh": domain_bce(far, n),
            "ent": self.entropy_weight * entropy_of_logits(net.head(ft)).mean(),
        }
