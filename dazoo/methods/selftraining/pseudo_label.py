"""Pseudo-label: the target's most probable classes as labels. Lee, ICML workshop 2013.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(p) * 1/b sum_i CE(z_i, argmax_c z_ic),   z = C(F(x_t)) (b, C)

r(p) rises from 0 at the fraction ``start`` of training to 1 at ``end``. Every target sample counts.

Evidence: tests/test_selftraining.py (equals a transcription; the ramp; no gradient through the labels).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.selftraining import fixmatch, linear_ramp


@register
class PseudoLabel(GradientMethod):
    """Pseudo-labels of the same batch, with a growing weight."""

    paper = Paper(
        title="Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
        authors="Dong-Hyun Lee",
        year=2013, url="https://www.semanticscholar.org/paper/798d9840d2439a0e5d47bcf5d164aa46d5e7dc26",
        venue="ICML workshop",
        deviations="the ramp runs over fractions of training, 0.1 to 0.6, in place of epochs 100 to 600",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(3.0, 0.1, 10.0, log=True, help="final weight of the pseudo-labels")
    ramp_start: float = hp(0.1, 0.0, 0.4, help="fraction of training at which the weight starts to rise")
    ramp_end: float = hp(0.6, 0.5, 1.0, help="fraction of training at which it is reached")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        scores = net.head(ft)
        weight = self.trade_off * linear_ramp(t.fraction, self.ramp_start, self.ramp_end)
        return {"cls": net.criterion(net.head(fs), b.ys), "pseudo": weight * fixmatch(scores, scores, 0.0)}
