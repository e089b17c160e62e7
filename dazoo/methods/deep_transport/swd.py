"""SWD: two classifiers whose disagreement is a sliced Wasserstein distance. Lee, Batra, Baig, Ulbricht, CVPR 2019.

    1. min_{F,C1,C2}  CE(C1(f_s), y_s) + CE(C2(f_s), y_s)
    2. min_{C1,C2}    CE(C1(f_s), y_s) + CE(C2(f_s), y_s) - trade_off * SWD(p1, p2)
    3. min_F          trade_off * SWD(p1, p2)
    SWD(p1, p2) = 1/(b M) sum_m sum_i (sort(p1 m)_i - sort(p2 m)_i)^2

in turn, with f = F(x) (b, width), target probabilities p_k = softmax(Ck(f_t)) (b, C), and M random unit directions m of
R^C, drawn anew at every step. Predictions are the mean of both classifiers' scores.

Evidence: tests/test_deep_transport.py (test_swd_terms, test_swd_phases_move_what_they_say).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import swd
from dazoo.ops.draws import unit_directions


@register
class SWD(GradientMethod):
    """Sliced Wasserstein discrepancy of two classifiers."""

    paper = Paper(
        title="Sliced Wasserstein Discrepancy for Unsupervised Domain Adaptation",
        authors="Chen-Yu Lee, Tanmay Batra, Mohammad Haris Baig, Daniel Ulbricht",
        year=2019, url="https://arxiv.org/abs/1903.04064", venue="CVPR",
        deviations="classifiers are single layers, as for every method here, and disagree little; the discrepancy is a "
        "mean over the batch and of the order of 1 / classes, so that at the paper's weight it moves little with many "
        "classes",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("source", update=("body", "head", "head2")),
        Phase("apart", update=("head", "head2")),
        Phase("together", update=("body",)),
    )
    neutral: ClassVar[dict[str, Any] | None] = None  # the second classifier and the second step remain

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the discrepancy")
    projections: int = hp(128, 8, 512, log=True, help="number of directions per step")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"head2": nn.Linear(width, n_classes)}

    def source(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs = net.body(b.xs)
        return {"cls": net.criterion(net.head(fs), b.ys), "cls2": net.criterion(net.head2(fs), b.ys)}

    def apart(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "cls2": net.criterion(net.head2(fs), b.ys),
            "apart": -self.distance(net, ft, t),
        }

    def together(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"together": self.distance(net, net.features(b.xs, b.xt, b.held)[1], t)}

    def distance(self, net: Net, ft: Tensor, t: Progress) -> Tensor:
        """The weighted discrepancy of both classifiers on target features (b, width)."""
        p1, p2 = net.head(ft).softmax(1), net.head2(ft).softmax(1)
        return self.trade_off * swd(p1, p2, unit_directions(p1.shape[1], self.projections, t.step, p1))

    def scores(self, net: Net, features: Tensor) -> Tensor:
        scores: Tensor = (net.head(features) + net.head2(features)) / 2
        return scores
