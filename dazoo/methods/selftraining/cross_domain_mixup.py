"""Cross-domain mixup: train on mixtures of source and target samples. Yan, Song, Li, Zou, Ren, 2020 (IIMT).

    min_{F,C}  CE(C(F(x_s)), y_s) + p * [trade_off * H(y_st, C(F(x_st)))
                                         + intra_weight * 1/b |softmax(C(F(x_tt))) - q_tt|^2
                                         + feature_weight * 1/b |F(x_st) - (l F(x_s) + (1 - l) F(x_t))|^2]
    x_st = l x_s + (1 - l) x_t,  y_st = l onehot(y_s) + (1 - l) q_t,   x_tt, q_tt the same of two target samples
    q_t = sharpened stop(softmax(C(F(x_t)))) (b, C), proportional to p_c^(1/temperature);  l = max(u, 1 - u), u ~ Beta

with u ~ Beta(concentration, concentration) drawn once per step, H the cross-entropy with soft labels, p the fraction of
training.

Evidence: tests/test_selftraining_teachers.py (terms equal transcriptions; linear networks have no feature term).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.perturb import mixup, soft_cross_entropy
from dazoo.ops.selftraining import sharpen, step_draws


@register
class CrossDomainMixup(GradientMethod):
    """Inter- and intra-domain mixup training."""

    paper = Paper(
        title="Improve Unsupervised Domain Adaptation with Mixup Training",
        authors="Shen Yan, Huan Song, Nanxiang Li, Lincan Zou, Liu Ren",
        year=2020, url="https://arxiv.org/abs/2001.00677", venue="arXiv",
        deviations="without the domain-adversarial term; pseudo-labels from one view, sharpened; weights are ours and "
        "rise linearly; the shares belong to the step, the same for every seed",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of mixtures across the domains")
    intra_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of mixtures within the target")
    feature_weight: float = hp(0.05, 0.005, 0.5, log=True, help="weight of the features' linearity")
    concentration: float = hp(
        0.2, 0.1, 2.0, log=True, structural=True, help="of the Beta distribution of the shares", positive=True
    )
    temperature: float = hp(
        0.5, 0.2, 1.0, help="below 1 sharpens the target's labels", positive=True, most=float("inf")
    )

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        source, target = net.head(fs), net.head(ft)
        n, c = target.shape[-2:]
        draws = step_draws(t.step, 2001)
        u = float(draws.beta(self.concentration, self.concentration))
        share = max(u, 1.0 - u)
        order = torch.as_tensor(draws.permutation(n), device=ft.device)
        q = sharpen(target.detach().softmax(-1), self.temperature)
        f_mixed = net.body(share * b.xs + (1.0 - share) * b.xt)
        y_mixed = share * one_hot(b.ys, c, ft.dtype) + (1.0 - share) * q
        intra = net.head(net.body(mixup(b.xt, share, order))).softmax(-1) - mixup(q, share, order)
        bent = f_mixed - share * fs - (1.0 - share) * ft
        return {
            "cls": net.criterion(source, b.ys),
            "inter": self.trade_off * t.fraction * soft_cross_entropy(net.head(f_mixed), y_mixed),
            "intra": self.intra_weight * t.fraction * intra.square().sum(-1).mean(),
            "linear": self.feature_weight * t.fraction * bent.square().sum(-1).mean(),
        }
