"""VADA: adversarial adaptation under the cluster assumption. Shu, Bui, Narui, Ermon, ICLR 2018.

    min_{F,C} max_D  CE(h(x_s), y_s) - trade_off * r(t) * [BCE(D(f_s), 1) + BCE(D(f_t), 0)] / 2
        + source_vat_weight * V(x_s) + target_vat_weight * V(x_t) + entropy_weight * E_t H(h(x_t))
    V(x) = E KL(h(x) | h(x + e)),   e = radius * mean|x| * d,   d the unit direction in which h(x) changes most

h = softmax(C(F(x))) (b, C), f (b, width). d is found by one power iteration from random noise; h(x) in V is a constant.

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (terms against their formulas; V is larger along
d than along a random direction).
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
from dazoo.nets.parts.domain_norm import still_norms
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.draws import normal
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.perturb import vat
from dazoo.ops.reversal import reverse_gradient


@register
class VADA(GradientMethod):
    """Virtual adversarial domain adaptation."""

    paper = Paper(
        title="A DIRT-T Approach to Unsupervised Domain Adaptation",
        authors="Rui Shu, Hung H. Bui, Hirokazu Narui, Stefano Ermon",
        year=2018,
        url="https://arxiv.org/abs/1802.08735", venue="ICLR",
        deviations="the radius is relative to the samples' mean norm (the paper's 3.5 is about a tenth of it); "
        "gradient reversal instead of alternating steps; no instance normalisation and no averaging of weights",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    revision = 1

    trade_off: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the reversed gradient")
    source_vat_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of V on the source")
    target_vat_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of V on the target")
    entropy_weight: float = hp(0.01, 0.001, 1.0, log=True, help="weight of the target's conditional entropy")
    radius: float = hp(0.1, 0.02, 0.5, log=True, help="length of the perturbation relative to a sample's mean norm")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp))
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "dom": domain_bce(d, len(fs)),
            "vat_s": self.source_vat_weight * smoothness(net, b.xs, t, self.radius, "vat source"),
            "vat_t": self.target_vat_weight * smoothness(net, b.xt, t, self.radius, "vat target"),
            "ent": self.entropy_weight * entropy_of_logits(net.head(ft)).mean(),
        }


def smoothness(net: Net, x: Tensor, t: Progress, radius: float, what: str) -> Tensor:
    """V(x) of the network's predictions, with the perturbation's length relative to the mean norm of ``x``."""
    noise = normal(tuple(x.shape), t.step, x, what)
    length = radius * x.flatten(1).norm(dim=1).mean()
    with still_norms(net.body):
        return vat(lambda z: net.head(net.body(z)), x, noise, length)
