"""SagNet: classify by content, and leave no class in the style. Nam, Lee, Park, Yoon, Yoo, CVPR 2021.

    min_{F,C}  CE(C(F~(x)), y) - trade_off * 1/b sum_i 1/K sum_k log softmax(S(mu_i, s_i))_k
    min_S      CE(S(mu_i, s_i), y_i)
    F~ with  z_i <- (z_i - mu_i) / s_i * (a s_i + (1 - a) s_j) + a mu_i + (1 - a) mu_j,   a ~ U(0, 1) per row

at the second feature map z (b, c, h, w), with mu, s (b, c) the mean and deviation of a channel over its positions and
j(i) a random row. S is a perceptron 2c -> style_width -> K on the style; what comes before z makes its answer uniform.
Series likewise. Of vectors z (b, d) is the first hidden layer, and mu, s (b,) are over its units.

Evidence: tests/test_generalisation.py (maps equal a transcription; S moves by its own loss alone; vectors).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Phase, Progress, register
from dazoo.methods.generalisation._sources import AnySources
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.nets.parts.taps import Tap, changed, channels, early_layers
from dazoo.ops import draws
from dazoo.ops.generalisation import restyled, style


@register
class SagNet(AnySources):
    """Style-agnostic network."""

    paper = Paper(
        title="Reducing Domain Gap by Reducing Style Bias",
        authors="Hyeonseob Nam, HyunJae Lee, Jongchan Park, Wonjun Yoon, Donggeun Yoo", year=2021,
        url="https://arxiv.org/abs/1910.11645", venue="CVPR",
        deviations="the style network reads mean and deviation of the maps, which is what a random content leaves of "
        "a sample, in place of a second network on maps of random content; draws belong to the step, the "
        "same for every seed; no gain at the defaults over erm on PACS beyond the scatter of seeds, and a "
        "loss on digits, where small networks begin from scratch",
    )  # fmt: skip
    phases = (Phase("losses", update=("body", "head")), Phase("style_losses", update=("style",)))
    stackable = False

    trade_off: float = hp(0.1, 0.01, 10.0, log=True, help="weight of the adversarial term")
    style_width: int = hp(64, 16, 256, log=True, help="width of the style network's hidden layer")

    def setup(self, net: Net) -> None:
        layer = early_layers(net.body, self.name)[-1]
        net.add_module("taps", nn.ModuleList([Tap(layer)]))
        classes = net.head.weight.shape[0]
        net.add_module("style", mlp(2 * max(1, channels(net.body, layer)), self.style_width, classes))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        seen: list[Tensor] = []
        order, share = draws.order(len(b.xs), t.step, b.xs), draws.uniform(len(b.xs), t.step, b.xs)

        def mixed(z: Tensor) -> Tensor:
            mean, std = style(z)
            seen.append(torch.cat([mean.flatten(1), std.flatten(1)], 1))
            a = share.to(z.dtype).reshape(-1, *([1] * (z.ndim - 1)))
            return restyled(z, a * mean + (1.0 - a) * mean[order], a * std + (1.0 - a) * std[order])

        with changed(net.taps, [mixed]):
            f = net.body(b.xs)
        even = -net.style(seen[0]).log_softmax(-1).mean()
        return {"cls": net.criterion(net.head(f), b.ys), "even": self.trade_off * even}

    def style_losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        seen: list[Tensor] = []

        def read(z: Tensor) -> Tensor:
            seen.append(torch.cat([v.detach().flatten(1) for v in style(z)], 1))
            return z

        with torch.no_grad(), changed(net.taps, [read]):
            net.body(b.xs)
        return {"style": functional.cross_entropy(net.style(seen[0]), b.ys)}
