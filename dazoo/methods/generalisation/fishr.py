"""Fishr: gradients of the classifier vary alike on every source. Ramé, Dancette, Cord, ICML 2022.

    min_{F,C}  CE(C(F(x)), y) + w(p) * 1/M sum_m mean (v_m - mean_k v_k)^2
    v_m = moving average (decay) of Var_i [d CE(C(F(x_i^m)), y_i^m) / dC] (C (d + 1),)
    w(p) = 0 before the fraction ``anneal`` of training, trade_off after it

Variances over the rows of a source (population), averages divided by 1 - decay so that the gradient of the newest keeps
its size. The gradients of a linear head are known: (p - onehot(y)) F' for the weights, p - onehot(y) for the bias.

Evidence: tests/test_generalisation.py (gradients and variances equal autograd's; weight 0 is erm).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import Generalising, of_sources
from dazoo.nets.net import Net
from dazoo.nets.parts.sources import SourceVariances
from dazoo.ops.generalisation import gradient_variances, head_gradients


@register
class Fishr(Generalising):
    """Invariant gradient variances."""

    paper = Paper(
        title="Fishr: Invariant Gradient Variances for Out-of-Distribution Generalization",
        authors="Alexandre Rame, Corentin Dancette, Matthieu Cord", year=2022,
        url="https://arxiv.org/abs/2109.02934", venue="ICML",
        deviations="the optimiser is not started anew where the weight jumps; a weight of 10 in place of DomainBed's "
        "1000, which in runs of a few hundred steps costs accuracy on held-out rows of the sources; under "
        "a recipe's label smoothing the gradients are those of the plain cross-entropy; no gain at the "
        "defaults over erm on PACS and digits",
    )  # fmt: skip

    trade_off: float = hp(10.0, 1.0, 1000.0, log=True, help="weight of the distance of variances")
    anneal: float = hp(0.3, 0.0, 0.9, structural=True, help="fraction of training before the term counts")
    decay: float = hp(0.95, 0.9, 0.99, help="of the moving averages")

    def setup(self, net: Net) -> None:
        classes = net.head.weight.shape[0]
        net.add_module("variances", SourceVariances(net.n_sources, classes * (net.body.width + 1)))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        f = net.body(b.xs)
        scores = net.head(f)
        new, there = gradient_variances(head_gradients(f, scores, b.ys), of_sources(net, b).to(f.dtype))
        v = net.variances(new, there, self.decay)
        apart = (v - v.mean(0)).square().mean()
        weight = self.trade_off if t.fraction >= self.anneal else 0.0
        return {"cls": net.criterion(scores, b.ys), "fishr": weight * apart}
