"""DebiasPL: pseudo-labels without the classes that the model favours. Wang, Wu, Lian, Yu, CVPR 2022.

    min_{F,C}  CE(C(F(x_s)), y_s)
               + trade_off * r(p) * 1/b sum_i [max q_i >= threshold] CE(z_i + debias log p, argmax q_i)
    q_i = stop(softmax(C(F(x_t,i)) - debias log p')) (C,),   z_i = C(F(strong(x_t,i))) (C,)

p (C,) is the moving average of the batch's mean softmax(C(F(x_t))), p' what it was before this batch; it starts at 1/C.
What is predicted often has to be predicted more surely to count, and classes with many pseudo-labels keep less room.
r(p) = 1/2 - cos(min(pi, 2 pi p)) / 2 over the fraction p of training. With debias = 0 it is FixMatch with that weight.

PADCLIP (Lai et al., ICCV 2023) builds on this with a momentum and a learning rate that follow a measure of forgetting;
no text of its formulas could be found, so that it is not here.

Evidence: tests/test_frontier_selftraining.py (terms and average equal a transcription; without debias FixMatch's).
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
from dazoo.nets.parts.moving import Moving
from dazoo.ops.selftraining import confident, cosine_ramp, hard_cross_entropy


@register
class DebiasPL(GradientMethod):
    """Debiased pseudo-labels with a margin."""

    paper = Paper(
        title="Debiased Learning from Naturally Imbalanced Pseudo-Labels",
        authors="Xudong Wang, Zhirong Wu, Long Lian, Stella X. Yu", year=2022,
        url="https://arxiv.org/abs/2201.01490", venue="CVPR",
        deviations="as many target as source samples per batch; an average with a decay of 0.99, since runs are short "
        "(the authors' program: 0.999), and a weight of 1 (there 10) that rises over the first half; without the loss "
        "between instances and groups and without the average of the network's weights, which are options there",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"decay": 0.9, "threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    debias: float = hp(1.0, 0.0, 1.0, help="share of the favour that is taken back")
    threshold: float = hp(0.7, 0.5, 0.95, help="probability a pseudo-label needs")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the average that stays per step")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"average": Moving(p=torch.full((n_classes,), 1.0 / n_classes))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        weak = weak.detach()
        y, mask = confident((weak - self.debias * net.average.p.log()).softmax(-1), self.threshold)
        (p,) = net.average(self.decay, ["p"], weak.softmax(-1).mean(0))
        margin = strong + self.debias * p.log()
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": self.trade_off * cosine_ramp(t.fraction) * hard_cross_entropy(margin, y, mask),
        }
