"""IRM: features on which one classifier is optimal for every source. Arjovsky, Bottou, Gulrajani, Lopez-Paz, 2019.

    min_{F,C}  CE(C(F(x)), y) + w(p) * 1/M sum_m g_m' g_m''
    g_m = d/ds 1/b sum_i CE(s C(F(x_i^m)), y_i^m) at s = 1,   g', g'' over the source's even and odd rows (b,)
    w(p) = min(1, trade_off) before the fraction ``anneal`` of training, trade_off after it; then the sum is divided by
    max(1, trade_off), as in the authors' programs, so that gradients keep their size

The squared slope of the risk in a factor of the scores is 0 where the classifier is optimal for the source; two halves
of the rows estimate the square without bias, so that the term may be negative.

Evidence: tests/test_parity.py (dg_irm_penalty), tests/test_generalisation.py (weight 0 is erm).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising, annealed, by_place, of_sources
from dazoo.nets.net import Net
from dazoo.ops.generalisation import irm_penalty, mean_over


@register
class IRM(Generalising):
    """Invariant risk minimisation."""

    paper = Paper(
        title="Invariant Risk Minimization",
        authors="Martin Arjovsky, Léon Bottou, Ishaan Gulrajani, David Lopez-Paz", year=2019,
        url="https://arxiv.org/abs/1907.02893", venue="arXiv",
        deviations="the optimiser is not started anew where the weight jumps; a weight of 0.1 in place of DomainBed's"
        " 100, with which runs of a few hundred steps do not even learn held-out rows of the sources; no "
        "gain at the defaults over erm on PACS and digits",
    )  # fmt: skip

    knob_needs: ClassVar[dict[str, dict[str, float]]] = {"anneal": {"trade_off": 10.0}}  # weights up to 1 never change

    trade_off: float = hp(0.1, 0.01, 100.0, log=True, help="weight of the penalty")
    anneal: float = hp(0.1, 0.0, 0.5, structural=True, help="fraction of training with a weight of at most 1")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        scores, w = net.head(net.body(b.xs)), of_sources(net, b)
        place = by_place(b)
        slopes = irm_penalty(scores[place], b.ys[place], w[place])
        penalty = mean_over(slopes, (w.sum(-2) > 1).to(w.dtype))
        cls, weight = annealed(self.trade_off, t.fraction < self.anneal)
        return {"cls": cls * net.criterion(scores, b.ys), "irm": weight * penalty}
