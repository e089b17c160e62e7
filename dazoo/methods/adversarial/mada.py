"""MADA: one domain discriminator per class. Pei, Cao, Long, Wang, AAAI 2018.

    min_{F,C} max_{D_1..D_C}  CE(C(F(x_s)), y_s)
        - trade_off * r(t) * sum_c [E_s BCE(D_c(g_c f_s), 1) + E_t BCE(D_c(g_c f_t), 0)] / 2

f (b, width) features, g = softmax(C(f)) (b, C) predictions taken as constants. D_c are perceptrons width -> disc_width
-> disc_width -> 1, one per class, evaluated together.

Evidence: tests/test_adversarial.py (transcription class by class; the reversed gradient's sign and scale).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import ParallelMLP
from dazoo.ops.games import classwise_domain_bce
from dazoo.ops.reversal import reverse_gradient


@register
class MADA(GradientMethod):
    """Multi-adversarial domain adaptation."""

    paper = Paper(
        title="Multi-Adversarial Domain Adaptation",
        authors="Zhongyi Pei, Zhangjie Cao, Mingsheng Long, Jianmin Wang",
        year=2018,
        url="https://arxiv.org/abs/1809.02176", venue="AAAI",
        deviations="predictions weigh the features as constants; each domain weighs one half",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    discriminators = ("discs",)

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    disc_width: int = hp(64, 16, 256, log=True, help="width of the discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"discs": ParallelMLP(n_classes, width, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        f = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)
        p = torch.cat([ls, lt]).detach().softmax(1)
        d = net.discs(p.T[:, :, None] * f).squeeze(-1).T
        return {"cls": net.criterion(ls, b.ys), "dom": classwise_domain_bce(d, len(fs)).sum()}
