"""GH: the gradients of classification and alignment without what they take from each other. Huang, Song, Zhang, TPAMI
2024.

    g_1 = gradient of "cls", g_2 = sum of the other terms' gradients, both on the body F;   if <g_1, g_2> < 0:
    g_1 <- g_1 - <g_1, g_2> / |g_2|^2 g_2,   g_2 <- g_2 - <g_1, g_2> / |g_1|^2 g_1   (both with the old g on the right)
    step along g_1 + g_2 = (1 - <g_1, g_2> / |g_1|^2) g_1 + (1 - <g_1, g_2> / |g_2|^2) g_2  (old g)

Head and discriminator, which one task alone moves, keep their gradients. ``base`` is the adversarial method below;
added to another method (``dan+gh``) it harmonises that one's terms with its classification, and leaves one that has no
others (``source_only+gh``) as it is.

Evidence: tests/test_frontier_compose.py (against a transcription; agreeing gradients are left alone; either task's
gradient no longer opposes the other's; the engine takes the combined gradient).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.adversarial._game import BASES, game
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net

Grads = Sequence[Tensor | None]


@register
class GH(GradientMethod):
    """Gradient harmonisation."""

    paper = Paper(
        title="Gradient Harmonization in Unsupervised Domain Adaptation",
        authors="Fuxiang Huang, Suqi Song, Lei Zhang", year=2024, url="https://arxiv.org/abs/2408.00288",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence",
        deviations="the paper's GH, not its variant GH++; on the gradients themselves, where the authors weight the "
        "losses, which would also change the steps of head and discriminator",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable = False
    partner: ClassVar[dict[str, Any]] = {"base": "none", "trade_off": 0.0, "disc_width": 32}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the base's reversed gradient")
    base: str = hp("cdan", choices=BASES, help="the adversarial method whose gradients are harmonised")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        base = game(self.base, self.trade_off, self.disc_width)
        return {} if base is None else base.build(width, n_classes)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        base = game(self.base, self.trade_off, self.disc_width)
        if base is None:
            return {"cls": net.criterion(net.head(net.features(b.xs, b.xt)[0]), b.ys)}
        return base.losses(net, b, t)

    def combine(self, grads: Mapping[str, Grads], names: Sequence[str]) -> list[Tensor | None]:
        first = list(grads.get("cls", [None] * len(names)))
        second: list[Tensor | None] = [None] * len(names)
        for term, more in grads.items():
            if term != "cls":
                second = [_plus(a, b) for a, b in zip(second, more)]
        shared = [
            (a, b) for a, b, n in zip(first, second, names) if a is not None and b is not None and n.startswith("body.")
        ]
        if shared:
            a, b = (torch.cat([pair[i].flatten() for pair in shared]) for i in (0, 1))
            dot, one, two = a @ b, a @ a, b @ b
            conflict = dot.clamp_max(0.0)
            w1, w2 = (1.0 - conflict / size.clamp_min(1e-30) for size in (one, two))
            first = [w1 * g if g is not None and n.startswith("body.") else g for g, n in zip(first, names)]
            second = [w2 * g if g is not None and n.startswith("body.") else g for g, n in zip(second, names)]
        return [_plus(a, b) for a, b in zip(first, second)]


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b
