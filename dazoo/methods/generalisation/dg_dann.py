"""DANN over sources: features from which nobody can tell the sources. Ganin et al., JMLR 2016.

    min_{F,C} max_D  CE(C(F(x)), y) - trade_off * r(t) * CE(D(F(x)), m)

with D (b, M) a perceptron width -> disc_width -> disc_width -> M that names the source m of a sample, by gradient
reversal: D descends its own loss at full rate, F ascends it scaled by trade_off * r(t). r is the recipe's ramp. Nothing
of the target is in it, unlike in ``dann``.

Evidence: tests/test_generalisation.py (at weight 0 body and head are those of erm, bit for bit).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.reversal import reverse_gradient


@register
class SourceDANN(Generalising):
    """Domain-adversarial training among sources."""

    paper = Paper(
        title="Domain-Adversarial Training of Neural Networks",
        authors=(
            "Yaroslav Ganin, Evgeniya Ustinova, Hana Ajakan, Pascal Germain, Hugo Larochelle, François Laviolette, "
            "Mario Marchand, Victor Lempitsky"
        ),
        year=2016, url="https://arxiv.org/abs/1505.07818", venue="Journal of Machine Learning Research",
        deviations="DomainBed's form for generalisation, which names the source; by gradient reversal and with the "
        "paper's ramp in place of DomainBed's alternating steps and second optimiser; no gain at the "
        "defaults over erm on PACS and digits",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})
    discriminators: ClassVar[tuple[str, ...]] = ()  # several answers, not one logit for "source"

    trade_off: float = hp(1.0, 0.01, 10.0, log=True, help="weight of the reversed gradient")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def setup(self, net: Net) -> None:
        net.add_module("disc", mlp(net.body.width, self.disc_width, self.disc_width, net.n_sources))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xs)
        named = net.disc(reverse_gradient(f, self.trade_off * t.ramp))
        return {"cls": net.criterion(net.head(f), b.ys), "dom": functional.cross_entropy(named, b.ds)}
