"""Group DRO: the sources of high risk weigh more. Sagawa, Koh, Hashimoto, Liang, ICLR 2020.

    min_{F,C}  sum_m q_m e_m,   e_m = 1/b sum_i CE(C(F(x_i^m)), y_i^m)
    q_m <- q_m exp(eta e_m) / sum_k q_k exp(eta e_k)   at every step, from q = 1/M (M,), without gradient

Evidence: tests/test_parity.py (dg_vrex_dro), tests/test_generalisation.py (the weights follow a transcription).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising, each_loss, of_sources
from dazoo.nets.net import Net
from dazoo.nets.parts.sources import SourceWeights
from dazoo.ops.generalisation import source_losses


@register
class GroupDRO(Generalising):
    """Distributionally robust optimisation over sources."""

    paper = Paper(
        title="Distributionally Robust Neural Networks for Group Shifts: On the Importance of Regularization for "
        "Worst-Case Generalization",
        authors="Shiori Sagawa, Pang Wei Koh, Tatsunori B. Hashimoto, Percy Liang", year=2020,
        url="https://arxiv.org/abs/1911.08731", venue="ICLR",
        deviations="a group is a source, whatever the class, as in DomainBed; no stronger weight decay; no gain at "
        "the defaults over erm on PACS and digits",
    )  # fmt: skip

    eta: float = hp(0.01, 0.001, 0.1, log=True, help="rate of the weights")

    def setup(self, net: Net) -> None:
        net.add_module("shares", SourceWeights(net.n_sources))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        risks, there = source_losses(each_loss(net, net.head(net.body(b.xs)), b.ys), of_sources(net, b))
        return {"cls": (net.shares(risks, there, self.eta) * risks).sum(-1)}
