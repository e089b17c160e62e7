"""FreeMatch: thresholds that follow how confident the model is, overall and per class. Wang et al., ICLR 2023.

    min_{F,C}  CE(C(F(x_s)), y_s) + r(p) * [trade_off * 1/b sum_i m_i CE(z_i, argmax q_i)
                                            + fair_weight * sum_c u_c log v_c]
    q_i = stop(softmax(C(F(x_t,i)))) (C,),  z_i = C(F(strong(x_t,i))) (C,),  m_i = 1[max q_i >= T(argmax q_i)]
    T(c) = tau * p_c / max_k p_k
    u = normalise(p_c / h_c),  v = normalise(mean_i m_i softmax(z_i)_c / share of argmax z_i = c among m_i = 1)

tau is the moving average of the batch's mean of max q_i, p (C,) that of its mean q and h (C,) that of its shares of
argmax q_i; all start at 1/C. r(p) = 1/2 - cos(min(pi, 2 pi p)) / 2 over the fraction p of training: at first, when the
thresholds are low, labels are guesses of a new head. A class that nobody is given has no part in u and v (its ratio
counts as 0).

Evidence: tests/test_frontier_selftraining.py (terms and averages equal transcriptions in loops; formulas compared
with the authors' program).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.moving import Moving
from dazoo.ops.classwise import one_hot
from dazoo.ops.selftraining import cosine_ramp, hard_cross_entropy


@register
class FreeMatch(GradientMethod):
    """Self-adaptive thresholding with a fairness term."""

    paper = Paper(
        title="FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning",
        authors=(
            "Yidong Wang, Hao Chen, Qiang Heng, Wenxin Hou, Yue Fan, Zhen Wu, Jindong Wang, Marios Savvides, "
            "Takahiro Shinozaki, Bhiksha Raj, Bernt Schiele, Xing Xie"
        ),
        year=2023, url="https://arxiv.org/abs/2205.07246", venue="ICLR",
        deviations="as many target as source samples per batch; averages with a decay of 0.99, since runs are short "
        "(the paper: 0.999 over a million steps), and weights that rise over the first half, as AdaMatch's does (the "
        "paper: constant); averages start at 1/C as in the paper; the authors' program (USB) "
        "starts all three at 1, which lets nothing pass at first; no average of the weights of the network",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    fair_weight: float = hp(0.01, 0.001, 0.1, log=True, help="weight of the fairness of predicted classes")
    decay: float = hp(0.99, 0.9, 0.999, help="share of the averages that stays per step")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        even = torch.full((n_classes,), 1.0 / n_classes)
        return {"average": Moving(tau=even[0], p=even, h=even)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, ft = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        weak, strong = net.head(ft).chunk(2)
        q = weak.detach().softmax(-1)
        (top, y), c = q.max(-1), q.shape[-1]
        given = one_hot(y, c, q.dtype).mean(0)
        tau, p, h = net.average(self.decay, ["tau", "p", "h"], top.mean(), q.mean(0), given)
        mask = (top >= (tau * p / p.amax())[y]).to(q.dtype)
        s = strong.softmax(-1)
        taken = mask.sum().clamp_min(1.0)
        mean, share = (mask @ s) / taken, (mask @ one_hot(s.argmax(-1), c, s.dtype)) / taken
        fair = (_per_share(p, h) * torch.log(_per_share(mean, share) + 1e-12)).sum()
        ramp = cosine_ramp(t.fraction)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "pseudo": ramp * self.trade_off * hard_cross_entropy(strong, y, mask),
            "fair": ramp * self.fair_weight * fair,
        }


def _per_share(p: Tensor, share: Tensor) -> Tensor:
    """``p / share`` (C,), 0 where the share is, scaled to sum 1."""
    ratio = torch.where(share > 0, p / share.clamp_min(1e-12), torch.zeros_like(p))
    return ratio / ratio.sum().clamp_min(1e-12)
