"""Fish: steps on which the gradients of all sources agree. Shi et al., ICLR 2022.

    u <- w;   u <- step(u, CE on source m)  for m = 1..M;   w <- w + meta_rate (u - w)

at every iteration, with the recipe's optimiser for the inner steps and w all parameters of body and head (any shape).
To first order in the inner rate this ascends the inner products of the sources' gradients.

Evidence: tests/test_generalisation.py (three iterations equal a transcription; meta_rate 1 is a sequence of steps).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Phase, Progress, register
from dazoo.methods.generalisation._sources import Generalising
from dazoo.nets.net import Net
from dazoo.nets.parts.twin import Twin


@register
class GradientMatching(Generalising):
    """Inter-domain gradient matching."""

    paper = Paper(
        title="Gradient Matching for Domain Generalization",
        authors=(
            "Yuge Shi, Jeffrey Seely, Philip H. S. Torr, N. Siddharth, Awni Hannun, Nicolas Usunier, Gabriel Synnaeve"
        ),
        year=2022, url="https://arxiv.org/abs/2104.09937", venue="ICLR",
        deviations="sources come in the same order at every iteration; from the first iteration, as in DomainBed; "
        "moving statistics of batch normalisation are those of the inner steps; no gain at the defaults "
        "over erm beyond the scatter of seeds",
    )  # fmt: skip
    phases = (Phase(each_source=True),)
    stackable = False

    meta_rate: float = hp(0.5, 0.05, 1.0, help="share of the way to the inner weights")

    def setup(self, net: Net) -> None:
        net.add_module("slow", Twin(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}

    def after_step(self, net: Net, b: Batch, t: Progress) -> None:
        for part in ("body", "head"):
            for slow, fast in zip(getattr(net.slow, part).parameters(), getattr(net, part).parameters()):
                fast.copy_(slow.lerp_(fast, self.meta_rate))
