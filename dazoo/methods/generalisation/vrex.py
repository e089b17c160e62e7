"""V-REx: the same risk on every source. Krueger et al., ICML 2021.

    min_{F,C}  1/M sum_m e_m + w(p) * 1/M sum_m (e_m - mean_k e_k)^2,   e_m = 1/b sum_i CE(C(F(x_i^m)), y_i^m)
    w(p) = min(1, trade_off) before the fraction ``anneal`` of training, trade_off after it; then the sum is divided by
    max(1, trade_off), as in the authors' programs, so that gradients keep their size

Evidence: tests/test_parity.py (dg_vrex_dro), tests/test_generalisation.py (weight 0 is erm).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising, annealed, each_loss, of_sources
from dazoo.nets.net import Net
from dazoo.ops.generalisation import source_losses, variance_over


@register
class VREx(Generalising):
    """Risk extrapolation by the variance of risks."""

    paper = Paper(
        title="Out-of-Distribution Generalization via Risk Extrapolation (REx)",
        authors=(
            "David Krueger, Ethan Caballero, Joern-Henrik Jacobsen, Amy Zhang, Jonathan Binas, Dinghuai Zhang, "
            "Remi Le Priol, Aaron Courville"
        ),
        year=2021, url="https://arxiv.org/abs/2003.00688", venue="ICML",
        deviations="the optimiser is not started anew where the weight jumps; a weight of 1 in place of DomainBed's "
        "10, which in runs of a few hundred steps costs accuracy on held-out rows of the sources; no gain "
        "at the defaults over erm on PACS and digits",
    )  # fmt: skip

    knob_needs: ClassVar[dict[str, dict[str, float]]] = {"anneal": {"trade_off": 10.0}}  # weights up to 1 never change

    trade_off: float = hp(1.0, 0.1, 100.0, log=True, help="weight of the variance")
    anneal: float = hp(0.1, 0.0, 0.5, structural=True, help="fraction of training with a weight of at most 1")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores = net.head(net.body(b.xs))
        risks, there = source_losses(each_loss(net, scores, b.ys), of_sources(net, b))
        cls, weight = annealed(self.trade_off, t.fraction < self.anneal)
        return {"cls": cls * net.criterion(scores, b.ys), "variance": weight * variance_over(risks, there)}
