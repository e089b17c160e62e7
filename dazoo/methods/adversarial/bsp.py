"""BSP: penalise the largest singular values of adversarial features. Chen, Wang, Long, Wang, ICML 2019.

    objective of ``base`` + bsp_weight * sum_{i <= k} [sigma_i(F(x_s))^2 + sigma_i(F(x_t))^2]

with the singular values of the feature batches (b, width), largest first. ``base`` is the adversarial method:
``dann``, ``cdan``, ``cdan_e``, or ``none``; added to another method (``mcd+bsp``) it gives the penalty alone.

Evidence: tests/test_parity.py (bsp), tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription;
weight 0 is the base), tests/test_compose.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial._game import BASES, game
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.methods.composition.view import shared
from dazoo.nets.net import Net
from dazoo.ops.norms import bsp


@register
class BSP(GradientMethod):
    """Batch spectral penalisation."""

    paper = Paper(
        title="Transferability vs. Discriminability: Batch Spectral Penalization for Adversarial Domain Adaptation",
        authors="Xinyang Chen, Sinan Wang, Mingsheng Long, Jianmin Wang",
        year=2019, url="https://proceedings.mlr.press/v97/chen19i.html", venue="ICML",
        deviations="the base is the one here, without batch normalisation in its discriminator",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    partner = {"base": "none", "trade_off": 0.0, "disc_width": 32}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the base's reversed gradient")
    bsp_weight: float = hp(1e-4, 1e-5, 1e-2, log=True, help="weight of the penalty")
    k: int = hp(1, 1, 4, help="how many singular values are penalised")
    base: str = hp("dann", choices=BASES, help="the adversarial method it is added to")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        base = self._game()
        return {} if base is None else base.build(width, n_classes)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        net = shared(net)
        fs, ft = net.features(b.xs, b.xt)
        base = self._game()
        terms = {"cls": net.criterion(net.head(fs), b.ys)} if base is None else base.losses(net, b, t)
        return {**terms, "bsp": self.bsp_weight * bsp(fs, ft, self.k)}

    def _game(self) -> GradientMethod | None:
        return game(self.base, self.trade_off, self.disc_width)
