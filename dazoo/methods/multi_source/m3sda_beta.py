"""M3SDA-beta: matched moments, and two classifiers per source that look for samples they disagree on. Peng et al.

    phase A, F, C, C':  min CE(C_i(f_s), y_s) + CE(C_i'(f_s), y_s) + trade_off * distance(f)     as in m3sda_heads
    phase B, C, C':     min CE(C_i(f_s), y_s) + CE(C_i'(f_s), y_s) - gap_weight * d(f_t)
    phase C, F:         min gap_weight * d(f_t)
    d(f_t) = 1/N sum_i mean over samples and classes of |softmax(C_i(f_t)) - softmax(C_i'(f_t))|

C_i and C_i' belong to source i of N, as in MCD; predictions are the mean of all softmax(C_i(f_t)), softmax(C_i'(f_t)).
A batch has as many rows of each source.

Evidence: tests/test_multi_source.py (test_m3sda_beta_phases).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, Phase, Progress, register
from dazoo.methods.multi_source._by_source import BySource, mean_of_heads, own_heads, own_scores, sources_of
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import mcd
from dazoo.ops.sources import moment_distance

HEADS = ("own_head", "own_head2")


@register
class M3SDABeta(BySource):
    """Moment matching with two classifiers per source."""

    paper = Paper(
        title="Moment Matching for Multi-Source Domain Adaptation",
        authors="Xingchao Peng, Qinxun Bai, Xide Xia, Zijun Huang, Kate Saenko, Bo Wang",
        year=2019, url="https://arxiv.org/abs/1812.01754", venue="ICCV",
        deviations="classifiers vote evenly, where the paper also weighs them by accuracies that need target labels; "
        "the weights are ours, those of m3sda and mcd",
    )  # fmt: skip
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("losses", update=("body", *HEADS)),
        Phase("losses_classifiers", update=HEADS),
        Phase("losses_encoder", update=("body",)),
    )

    trade_off: float = hp(0.1, 0.005, 1.0, log=True, help="weight of the moment distance")
    gap_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the discrepancy in phases B and C")
    moments: int = hp(2, 1, 4, help="highest order K")

    def setup(self, net: Net) -> None:
        for name in HEADS:
            net.add_module(name, own_heads(net))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        w = sources_of(net, b.ds, fs)
        return {**self._task(net, fs, w, b.ys), "moments": self.trade_off * moment_distance(fs, ft, w, self.moments)}

    def losses_classifiers(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        task = self._task(net, fs.detach(), sources_of(net, b.ds, fs), b.ys)
        return {**task, "gap": -self.gap_weight * self._gap(net, ft.detach())}

    def losses_encoder(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"gap": self.gap_weight * self._gap(net, net.body(b.xt))}

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        return Prediction(mean_of_heads(net, [*net.own_head, *net.own_head2], features), features)

    def _task(self, net: Net, fs: Tensor, w: Tensor, ys: Tensor) -> dict[str, Tensor]:
        first, second = (net.criterion(own_scores(heads, fs, w), ys) for heads in (net.own_head, net.own_head2))
        return {"cls": first, "cls2": second}

    def _gap(self, net: Net, ft: Tensor) -> Tensor:
        pairs = zip(net.own_head, net.own_head2)
        return torch.stack([mcd(a(ft).softmax(1), c(ft).softmax(1)) for a, c in pairs]).mean()
