"""GVB-GD: bridges that take up what is particular to a domain, and vanish. Cui, Wang, Zhuo, Su, Huang, Tian, CVPR 2020.

    c(f) = C(f) - B_g(f),   D'(p) = D(p) - B_d(p)
    min_{F,C,B_g} max_D  CE(c(f_s), y_s) - trade_off * r(t) * [BCE(D'(p(f_s)), 1) + BCE(D'(p(f_t)), 0)] / 2,
    p(f) = softmax c(f),  with  + bridge_g_weight * mean |B_g(f)|  and, in what D and B_d descend,
    + bridge_d_weight * mean |B_d(p(f))|

B_g is linear, width -> C; D and B_d are linear outputs of one perceptron C -> disc_width -> disc_width. Means run over
both batches and all entries. Predictions meet D and B_d through gradient reversal. c predicts.

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription; without bridges equals a
discriminator on predictions).
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
from dazoo.ops.reversal import reverse_gradient


@register
class GVB(GradientMethod):
    """Gradually vanishing bridge on generator and discriminator."""

    paper = Paper(
        title="Gradually Vanishing Bridge for Adversarial Domain Adaptation",
        authors="Shuhao Cui, Shuhui Wang, Junbao Zhuo, Chi Su, Qingming Huang, Qi Tian",
        year=2020, url="https://arxiv.org/abs/2003.13183", venue="CVPR",
        deviations="without the entropy weights and the dropout of the authors' code",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = {"generator_bridge": False}
    discriminators = ("domain",)  # D alone: its bridge is what shall vanish

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    bridge_g_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the generator bridge's size")
    bridge_d_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the discriminator bridge's size")
    generator_bridge: bool = hp(True, choices=(False, True), help="bridge on the classifier")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        w = self.disc_width
        parts = {"disc": mlp(n_classes, w, w, final=True), "domain": nn.Linear(w, 1), "bridge_d": nn.Linear(w, 1)}
        return {**parts, **({"bridge_g": nn.Linear(width, n_classes)} if self.generator_bridge else {})}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        zs, zt = self.scores(net, fs), self.scores(net, ft)
        p = reverse_gradient(torch.cat([zs, zt]).softmax(1), self.trade_off * t.ramp)
        hidden = net.disc(p)
        bridge = net.bridge_d(hidden)
        terms = {
            "cls": net.criterion(zs, b.ys),
            "dom": domain_bce(net.domain(hidden) - bridge, len(fs)),
            "bridge_d": self.bridge_d_weight * bridge.abs().mean(),
        }
        if self.generator_bridge:
            terms["bridge_g"] = self.bridge_g_weight * net.bridge_g(torch.cat([fs, ft])).abs().mean()
        return terms

    def scores(self, net: Net, features: Tensor) -> Tensor:
        head: Tensor = net.head(features)
        scores = head - net.bridge_g(features) if self.generator_bridge else head
        return scores
