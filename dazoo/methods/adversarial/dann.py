"""DANN: features that a domain discriminator cannot tell apart. Ganin et al., JMLR 2016.

    min_{F,C} max_D  CE(C(F(x_s)), y_s) - trade_off * r(t) * [BCE(D(F(x_s)), 1) + BCE(D(F(x_t)), 0)] / 2

by gradient reversal: D descends its own loss at full rate, F ascends it scaled by trade_off * r(t). r is the recipe's
ramp, by default 2 / (1 + exp(-10 p)) - 1 over the fraction p of training. D is a perceptron width -> disc_width ->
disc_width -> 1 logit.

Evidence: tests/test_parity.py (dann_domain_loss), tests/test_adversarial.py (sign and scale of the reversed gradient).
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
class DANN(GradientMethod):
    """Domain-adversarial neural network."""

    paper = Paper(
        title="Domain-Adversarial Training of Neural Networks",
        authors=(
            "Yaroslav Ganin, Evgeniya Ustinova, Hana Ajakan, Pascal Germain, Hugo Larochelle, François Laviolette, "
            "Mario Marchand, Victor Lempitsky"
        ),
        year=2016,
        url="https://arxiv.org/abs/1505.07818", venue="Journal of Machine Learning Research",
        deviations="the discriminator is as wide as disc_width says, without batch normalisation",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        return {"cls": net.criterion(net.head(fs), b.ys), "dom": domain_bce(d, len(fs))}
