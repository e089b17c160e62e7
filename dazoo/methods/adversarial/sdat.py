"""SDAT: a smooth minimum of the task loss, beside an adversarial game left as it is. Rangwani et al., ICML 2022.

    min_{F,C} max_{|e| <= rho} CE_{w + e}(x_s, y_s)   with the adversarial terms at w (not w + e)
    e = rho g / |g|,  g = gradient of CE at the parameters w of F and C

The gradient of the classification loss is taken at w + e, the others' at w, in one optimiser step (two passes).
``base`` is the adversarial method: ``cdan``, ``cdan_e``, ``dann``, or ``none``; added to another method
(``dann+sdat``) it only smooths that one's classification loss.

Evidence: tests/test_adversarial_limits.py (the step against a transcription; rho = 0 is the base),
tests/test_compose.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial._game import BASES, game
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net


@register
class SDAT(GradientMethod):
    """Smooth domain-adversarial training."""

    paper = Paper(
        title="A Closer Look at Smoothness in Domain Adversarial Training",
        authors="Harsh Rangwani, Sumukh K. Aithal, Mayank Mishra, Arihant Jain, R. Venkatesh Babu",
        year=2022, url="https://arxiv.org/abs/2206.08213", venue="ICML",
        deviations="the adversarial gradient is taken at w as the objective says; the authors' code takes it at w + e",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    phases = (Phase("losses", smooth=("cls",), radius="rho"),)
    neutral = {"rho": 0.0}
    partner = {"base": "none", "trade_off": 0.0, "disc_width": 32}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the base's reversed gradient")
    rho: float = hp(0.02, 0.005, 0.2, log=True, help="radius of the perturbation")
    base: str = hp("cdan", choices=BASES, help="the adversarial method that is smoothed")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        base = self._game()
        return {} if base is None else base.build(width, n_classes)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        base = self._game()
        if base is None:
            return {"cls": net.criterion(net.head(net.features(b.xs, b.xt)[0]), b.ys)}
        return base.losses(net, b, t)

    def _game(self) -> GradientMethod | None:
        return game(self.base, self.trade_off, self.disc_width)
