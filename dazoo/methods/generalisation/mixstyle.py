"""MixStyle: feature maps in the style of samples of other sources. Zhou, Yang, Qiao, Xiang, ICLR 2021.

    min_{F,C}  CE(C(F~(x)), y),   F~ with  z_i <- (z_i - mu_i) / s_i * (l s_i + (1 - l) s_j) + l mu_i + (1 - l) mu_j
    l ~ Beta(concentration, concentration) for every row and layer,  j(i) a row of another source

at the first two feature maps z (b, c, h, w), with mu, s (b, c) the mean and deviation of a channel over its positions,
without gradient; at each in a step with probability ``chance``. Series likewise. Of vectors there is one map, the first
hidden layer z (b, d), and mu, s (b,) are over its units. Prediction leaves the maps as they are.

Evidence: tests/test_generalisation.py (maps equal a transcription; chance 0 is erm; vectors; refusal).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import AnySources
from dazoo.nets.net import Net
from dazoo.nets.parts.taps import Tap, changed, early_layers
from dazoo.ops import draws
from dazoo.ops.generalisation import restyled, style


@register
class MixStyle(AnySources):
    """Mixing of feature statistics across sources."""

    paper = Paper(
        title="Domain Generalization with MixStyle",
        authors="Kaiyang Zhou, Yongxin Yang, Yu Qiao, Tao Xiang", year=2021,
        url="https://arxiv.org/abs/2104.02008", venue="ICLR",
        deviations="partners by one cyclic shift per layer and step; draws belong to the step, the same for every "
        "seed; the form for vectors is ours; no gain at the defaults over erm on PACS, and a loss on "
        "digits, where small networks begin from scratch",
    )  # fmt: skip
    stackable = False

    chance: float = hp(0.5, 0.1, 1.0, help="probability that a layer mixes in a step")
    concentration: float = hp(0.1, 0.05, 1.0, log=True, help="of the Beta distribution of the shares", positive=True)

    def setup(self, net: Net) -> None:
        net.add_module("taps", nn.ModuleList(map(Tap, early_layers(net.body, self.name))))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        mixes = [partial(self._mixed, self._plan(b.xs, net.n_sources, t.step, i)) for i in range(len(net.taps))]
        with changed(net.taps, mixes):
            f = net.body(b.xs)
        return {"cls": net.criterion(net.head(f), b.ys)}

    def _plan(self, x: Tensor, n_sources: int, step: int, layer: int) -> tuple[Tensor, Tensor] | None:
        """A partner (b,) and a share (b,) for every row; None where nothing is mixed."""
        if float(draws.uniform(1, step, x, f"mixed {layer}")) >= self.chance:
            return None
        order = draws.partners(len(x), n_sources, step, x, f"partners {layer}")
        return order, draws.beta(len(x), self.concentration, step, x, f"shares {layer}")

    @staticmethod
    def _mixed(plan: tuple[Tensor, Tensor] | None, z: Tensor) -> Tensor:
        if plan is None:
            return z
        order, share = plan
        mean, std = (v.detach() for v in style(z))
        lam = share.to(z.dtype).reshape(-1, *([1] * (z.ndim - 1)))
        return restyled(z, lam * mean + (1.0 - lam) * mean[order], lam * std + (1.0 - lam) * std[order], fixed=True)
