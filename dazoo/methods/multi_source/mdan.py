"""MDAN: adapt to the source that is worst off. Zhao, Zhang, Wu, Moura, Costeira, Gordon, NeurIPS 2018.

    form="smooth":  min_{F,C}  1/gamma log sum_k exp( gamma (e_k - trade_off * min_{D_k} h_k) )
    form="hard":    min_{F,C}  max_k e_k - trade_off * min_k min_{D_k} h_k
    e_k = CE(C(F(x)), y) over the batch's rows of source k,   h_k = -mean log D_k(f_k) - mean log(1 - D_k(f_t))

D_k tells source k from the target; its gradient to F is reversed and scaled by the recipe's ramp. As gamma grows, the
smooth form becomes the maximum over sources; with one source both are DANN. Squared errors for values. A batch has as
many rows of each source.

Evidence: tests/test_multi_source.py (test_mdan_terms, test_mdan_becomes_the_maximum), the parity fixtures.
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
from dazoo.ops.sources import hard_worst, smooth_worst


@register
class MDAN(BySource):
    """Multi-source domain-adversarial networks."""

    paper = Paper(
        title="Adversarial Multiple Source Domain Adaptation",
        authors="Han Zhao, Shanghang Zhang, Guanhang Wu, José M. F. Moura, Joao P. Costeira, Geoffrey J. Gordon",
        year=2018, url="https://arxiv.org/abs/1705.09684", venue="NeurIPS",
        deviations="the adversary's weight grows with the recipe's ramp; as_program=True weighs sources as the "
        "authors' program does, by e_k + trade_off h_k, whose sign is that of the discriminators and not of the "
        "divergence, so that sources like the target count more",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    trade_off: float = hp(0.5, 0.05, 5.0, log=True, help="weight of the discriminators' losses")
    gamma: float = hp(10.0, 1.0, 100.0, log=True, help="sharpness of the smooth maximum", positive=True)
    form: str = hp("smooth", choices=("smooth", "hard"), help="maximum over sources, smooth or hard")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminators' hidden layers")
    as_program: bool = hp(False, help="weigh sources by the discriminators' losses as they are")

    def setup(self, net: Net) -> None:
        net.add_module("discs", discriminators(net, self.disc_width))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = sources_of(net, b.ds, fs)
        e, there = mean_by_source(losses_by_row(net, net.head(fs), b.ys), w)
        h = games(net, fs, ft, w, t.ramp)
        if self.form == "hard":
            return {"worst": hard_worst(e, h, there, self.trade_off)}
        signed = h if self.as_program else h - 2.0 * h.detach()  # -h, with the gradient of the reversed h
        return {"worst": smooth_worst(e, signed, there, self.trade_off, self.gamma)}
