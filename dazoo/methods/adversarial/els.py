"""ELS: environment label smoothing of an adversarial game. Zhang, Wang, Liang, Zhang, Wang, Jin, Tan, ICLR 2023.

    min_{F,C} max_D  CE(C(f_s), y_s) - trade_off * r(t) * [E_s l(D(h_s)) + E_t l(-D(h_t))] / 2
    l(z) = -gamma(t) log sigmoid(z) - (1 - gamma(t)) log sigmoid(-z),   gamma(t) = 1 - (1 - gamma) p

p is the fraction of training done, h the features f (b, width), or for the bases ``cdan`` and ``cdan_e`` their outer
product with the predictions (b, C * width), with certainty weights for ``cdan_e``. gamma = 1/2 is the paper's annealing
1 - (M - 1) / M * t / T for M = 2 domains; gamma = 1 is the base itself.

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription; gamma = 1 is the base; the
smoothed loss is least at gamma).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial._game import game
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.adversarial import conditional_map
from dazoo.ops.entropy import entropy_weights
from dazoo.ops.games import smoothed_domain_bce
from dazoo.ops.reversal import reverse_gradient


@register
class ELS(GradientMethod):
    """Environment label smoothing."""

    paper = Paper(
        title="Free Lunch for Domain Adversarial Training: Environment Label Smoothing",
        authors="Yi-Fan Zhang, Xue Wang, Jian Liang, Zhang Zhang, Liang Wang, Rong Jin, Tieniu Tan",
        year=2023, url="https://arxiv.org/abs/2302.00194",
        venue="ICLR",
        deviations="all sources count as one domain",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    gamma: float = hp(0.5, 0.5, 0.95, help="belief in the domain labels at the end of training; it falls from 1")
    base: str = hp("dann", choices=("dann", "cdan", "cdan_e"), help="the adversarial method that is smoothed")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        base = game(self.base, self.trade_off, self.disc_width)
        return {} if base is None else base.build(width, n_classes)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls = net.head(fs)
        h, weights = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp), None
        if self.base != "dann":
            p = torch.cat([ls, net.head(ft)]).detach().softmax(1)
            h, weights = conditional_map(p, h), entropy_weights(p) if self.base == "cdan_e" else None
        gamma = 1.0 - (1.0 - self.gamma) * t.fraction
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": smoothed_domain_bce(net.disc(h).squeeze(-1), len(fs), gamma, weights),
        }
