"""SoftMatch: every pseudo-label counts, by how confident it is among the recent ones. Chen et al., ICLR 2023.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(p) * 1/b sum_i l_i CE(C(F(strong(x_t,i))), argmax q_i)
    q_i = stop(softmax(C(F(x_t,i)))) (C,),   a_i = normalise(q_i / (C m)) (C,), if ``align``, else q_i
    l_i = exp(-n_sigma^2 max(0, mu - max a_i)^2 / (2 v))

m (C,) is the moving average of the batch's mean q, mu and v are those of the mean and the unbiased variance of max a_i
in the batch; they start at 1/C, 1/C and 1. r(p) = 1/2 - cos(min(pi, 2 pi p)) / 2 over the fraction p of training: at
first, when all weights are near 1, labels are guesses of a new head. Aligned predictions decide about the weight alone,
not about the label. With v without bound every weight is 1.

Evidence: tests/test_frontier_selftraining.py (terms and averages equal transcriptions; a large variance is plain
pseudo-labelling; formulas compared with the authors' program).
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
from dazoo.ops.selftraining import align_distribution, cosine_ramp, hard_cross_entropy, unbiased_variance


@register
class SoftMatch(GradientMethod):
    """Pseudo-labels with weights of a truncated Gaussian."""

    paper = Paper(
        title="SoftMatch: Addressing the Quantity-Quality Trade-off in Semi-supervised Learning",
        authors=(
            "Hao Chen, Ran Tao, Yue Fan, Yidong Wang, Jindong Wang, Bernt Schiele, Xing Xie, Bhiksha Raj, "
            "Marios Savvides"
        ),
        year=2023, url="https://arxiv.org/abs/2301.10921", venue="ICLR",
        deviations="as many target as source samples per batch; averages with a decay of 0.99, since runs are short "
        "(the paper: 0.999 over a million steps), and a weight that rises over the first half, as AdaMatch's does (the "
        "paper: 1 throughout); m starts at 1/C, in the authors' program (USB) at the first batch's mean, which is "
        "forgotten alike; no average of the weights of the network",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"decay": 0.9}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the averages that stays per step")
    n_sigma: float = hp(2.0, 1.0, 3.0, help="standard deviations below the mean that weigh as little as one would")
    align: bool = hp(True, choices=(False, True), help="divide predictions by their mean before weighing them")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        even = torch.full((n_classes,), 1.0 / n_classes)
        return {"average": Moving(mean=even, mu=even[0], var=torch.ones(()))}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        q = weak.detach().softmax(-1)
        (mean,) = net.average(self.decay, ["mean"], q.mean(0))
        top = (align_distribution(q, torch.ones_like(mean), mean) if self.align else q).amax(-1)
        mu, var = net.average(self.decay, ["mu", "var"], top.mean(), unbiased_variance(top))
        weights = torch.exp(-(self.n_sigma * (mu - top).clamp_min(0.0)).square() / (2.0 * var.clamp_min(1e-12)))
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": self.trade_off * cosine_ramp(t.fraction) * hard_cross_entropy(strong, q.argmax(-1), weights),
        }
