"""FixBi: two networks at fixed mixtures of the domains teach each other on the target. Na et al., CVPR 2021.

    M_1 (source-dominant, l_1 = share) and M_2 (target-dominant, l_2 = 1 - share) both start from DANN; for m = 1, 2
    fix_m = l_m CE(M_m(x_m), y_s) + (1 - l_m) CE(M_m(x_m), y_m),   x_m = l_m x_s + (1 - l_m) x_t,  y_m = argmax M_m(x_t)
    first half of training:   + penalty_weight * mean_{i not sure_m} -log(1 - softmax(M_m(x_t,i) / temperature)[y_m,i])
    second half:              + match_weight * mean_{i sure_n} CE(M_m(x_t,i), y_n,i)   with n the other network
                              + consistency_weight * 1/(b C) |M_1(x') - M_2(x')|^2,   x' = (x_s + x_t) / 2
    sure_m: p_i = max softmax(M_m(x_t,i)) >= mean(p) - spread * std(p) over the batch

M is C(F(.)), scores (b, C); all terms are summed over both networks. They predict together, by the sum of their
probabilities.

Evidence: tests/test_frontier_mixtures.py (terms equal transcriptions in loops, in either half of training).
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.discrepancy import pick
from dazoo.ops.selftraining import unbiased_variance


@register
class FixBi(GradientMethod):
    """Fixed mixtures and bidirectional matching."""

    paper = Paper(
        title="FixBi: Bridging Domain Spaces for Unsupervised Domain Adaptation",
        authors="Jaemin Na, Heechul Jung, Hyung Jin Chang, Wonjun Hwang", year=2021,
        url="https://arxiv.org/abs/2011.09230", venue="CVPR",
        deviations="all sure and unsure samples count (in the authors' program as many of either network as of the "
        "other); the temperature of the penalty is fixed, not learned",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    start = "dann"
    stackable = False
    toy_hparams: ClassVar[dict[str, Any]] = {"spread": 0.5}

    share: float = hp(0.7, 0.55, 0.9, help="share of the source in the source-dominant mixture")
    spread: float = hp(2.0, 0.5, 3.0, help="standard deviations below the mean confidence that still count as sure")
    temperature: float = hp(5.0, 1.0, 10.0, help="softens predictions in the penalty", positive=True)
    penalty_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the penalty on unsure labels")
    match_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the other network's sure labels")
    consistency_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of agreement half way between the domains")

    def setup(self, net: Net) -> None:
        net.add_module("body_t", copy.deepcopy(net.body))
        net.add_module("head_t", copy.deepcopy(net.head))

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        nets = [lambda x: net.head(net.body(x)), lambda x: net.head_t(net.body_t(x))]
        scores = [m(b.xt) for m in nets]
        found = [self._labels(z) for z in scores]
        terms: dict[str, Tensor] = {}
        for name, m, (y, _), share in zip(("sd", "td"), nets, found, (self.share, 1.0 - self.share)):
            mixed = m(share * b.xs + (1.0 - share) * b.xt)
            terms[name] = share * cross_entropy(mixed, b.ys) + (1.0 - share) * cross_entropy(mixed, y)
        if t.fraction < 0.5:
            denied = [_mean_of(_denied(z / self.temperature, y), 1.0 - sure) for z, (y, sure) in zip(scores, found)]
            terms["penalty"] = self.penalty_weight * (denied[0] + denied[1])
        else:
            taught = [
                _mean_of(cross_entropy(z, y, reduction="none"), sure) for z, (y, sure) in zip(scores, found[::-1])
            ]
            terms["match"] = self.match_weight * (taught[0] + taught[1])
            half = [m((b.xs + b.xt) / 2.0) for m in nets]
            terms["consistency"] = self.consistency_weight * mse_loss(*half)
        return terms

    def predict(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        both = net.head(features).softmax(-1) + net.head_t(net.body_t(x)).softmax(-1)
        return Prediction(torch.log(both / 2.0 + 1e-30), features)

    def _labels(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Most probable classes (b,) and which rows are sure of them (b,) of 0 and 1."""
        top, y = scores.detach().softmax(-1).max(-1)
        return y, (top >= top.mean() - self.spread * unbiased_variance(top).sqrt()).to(scores.dtype)


def _denied(scores: Tensor, y: Tensor) -> Tensor:
    """``-log(1 - softmax(scores)_y)`` (b,)."""
    return -torch.log((1.0 - pick(scores.softmax(-1), y)).clamp_min(1e-6))


def _mean_of(values: Tensor, taken: Tensor) -> Tensor:
    """Mean over the rows that ``taken`` (b,) has a 1 for; 0 where there are none."""
    return (taken * values).sum() / taken.sum().clamp_min(1.0)
