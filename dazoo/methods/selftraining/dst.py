"""DST: pseudo-labels train a head of their own, and the body prepares for the worst one. Chen et al., NeurIPS 2022.

    min_{F,C,P} max_W  CE(C(f_s), y_s) + trade_off * 1/b sum_i 1[max q_i >= threshold] CE(P(f_t,i'), argmax q_i)
                       + worst_weight * r(t) * {E_t[log(1 - softmax(W(f_t))_c(f_t))] - margin * CE(W(f_s), c(f_s))}
    q_i = stop(softmax(C(F(x_t,i)))) (C,),   f' = F(strong(x)),   c = argmax C

P and W are perceptrons width -> width -> C: wrong pseudo-labels reach the body through P, never the head C that gives
them. W agrees with C on the source and errs on the target as much as it can; the body moves against it, by gradient
reversal.

Evidence: tests/test_frontier_selftraining.py (terms equal transcriptions; the head gets no gradient from
pseudo-labels; who moves which way; formulas compared with the authors' program).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.discrepancy import mdd
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.selftraining import confident, hard_cross_entropy


@register
class DST(GradientMethod):
    """Debiased self-training."""

    paper = Paper(
        title="Debiased Self-Training for Semi-Supervised Learning",
        authors="Baixu Chen, Junguang Jiang, Ximei Wang, Pengfei Wan, Jianmin Wang, Mingsheng Long", year=2022,
        url="https://arxiv.org/abs/2202.07136", venue="NeurIPS",
        deviations="as many target as source samples per batch; threshold, margin and weights are those of the "
        "authors' program for pretrained networks, which also trains on strong views of labelled samples and has "
        "dropout in P and W",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    revision = 1  # the worst head sees weak views
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    worst_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the worst head's gradient to the features")
    threshold: float = hp(0.7, 0.5, 0.99, help="least confidence of a pseudo-label")
    margin: float = hp(2.0, 1.0, 4.0, help="weight of the worst head's agreement on the source")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"pseudo_head": mlp(width, width, n_classes), "worst_head": mlp(width, width, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = ft.chunk(2)
        ls, y_scores = net.head(fs), net.head(weak)
        y, mask = confident(y_scores.softmax(-1), self.threshold)
        strength = self.worst_weight * t.ramp
        worst_s, worst_t = (net.worst_head(reverse_gradient(f, strength)) for f in (fs, weak))
        return {
            "cls": net.criterion(ls, b.ys),
            "pseudo": self.trade_off * hard_cross_entropy(net.pseudo_head(strong), y, mask),
            "worst": -mdd(ls, worst_s, y_scores, worst_t, self.margin),
        }
