"""DARN: weigh sources by their loss and their distance to the target, with a price on few of them. Wen et al., 2020.

    min_{F,C}  min_{a in simplex}  sum_k a_k (e_k - trade_off * min_{D_k} h_k) + tau |a|_2
    e_k = CE(C(F(x)), y) over the batch's rows of source k,   h_k = -mean log D_k(f_k) - mean log(1 - D_k(f_t))

The inner minimum is a_k = (v - g_k)_+ over its sum, g_k = e_k - trade_off h_k, with sum_k (v - g_k)_+^2 = tau^2:
sources far from the target or hard to fit get less, down to nothing. D_k tells source k from the target; its gradient
to F is reversed and scaled by the recipe's ramp. Squared errors for values. A batch has as many rows of each source.

Evidence: tests/test_multi_source.py (test_darn_weights_solve_their_problem, test_darn_terms).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.multi_source._by_source import (
    BySource,
    discriminators,
    games,
    losses_by_row,
    mean_by_source,
    sources_of,
)
from dazoo.nets.net import Net
from dazoo.ops.sources import aggregation_weights


@register
class DARN(BySource):
    """Domain aggregation network."""

    paper = Paper(
        title="Domain Aggregation Networks for Multi-Source Domain Adaptation",
        authors="Junfeng Wen, Russell Greiner, Dale Schuurmans",
        year=2020, url="https://arxiv.org/abs/1909.05352", venue="ICML",
        deviations="weights by e_k - trade_off h_k, as the theory says; the authors' program takes e_k + trade_off h_k "
        "with which sources unlike the target count more; the adversary's weight grows with the recipe's ramp",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.5, 0.05, 5.0, log=True, help="weight of the discriminators' losses")
    tau: float = hp(1.0, 0.1, 10.0, log=True, help="price of uneven weights; large values weigh alike", positive=True)
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminators' hidden layers")

    def setup(self, net: Net) -> None:
        net.add_module("discs", discriminators(net, self.disc_width))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = sources_of(net, b.ds, fs)
        e, there = mean_by_source(losses_by_row(net, net.head(fs), b.ys), w)
        h = games(net, fs, ft, w, t.ramp)
        share = aggregation_weights(e - self.trade_off * h, there, self.tau)
        return {"cls": share @ e, "dom": self.trade_off * (share @ h)}
