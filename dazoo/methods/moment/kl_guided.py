"""KL guided adaptation: random features whose distributions agree in the Kullback-Leibler divergence. Nguyen et al.,
ICLR 2022.

    min_{F,C}  CE(C(z_s), y_s) + trade_off * E_t[log p_t(z_t) - log p_s(z_t)]
                               + aux_weight * E_s[log p_s(z_s) - log p_t(z_s)]
    z = f + s * n,  f = F(x) (b, width),  s = softplus(S(f)) (b, width),  n standard normal
    p_s(z) = 1/b sum_i N(z; f_s,i, diag s_s,i^2), and p_t alike, over the batch

S is a linear layer width -> width; the densities are mixtures over the batch, so that no discriminator is needed. The
first divergence bounds the loss on the target. Prediction is by f.

Evidence: tests/test_frontier.py (densities equal scipy's; terms equal transcriptions; equal batches have divergence 0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.draws import normal


@register
class KLGuided(GradientMethod):
    """KL-divergence guided domain adaptation."""

    paper = Paper(
        title="KL Guided Domain Adaptation",
        authors="A. Tuan Nguyen, Toan Tran, Yarin Gal, Philip H. S. Torr, Atilim Gunes Baydin", year=2022,
        url="https://arxiv.org/abs/2106.07780", venue="ICLR",
        deviations="the mean is the feature itself and predicts alone (the paper averages 20 samples); weights as in "
        "the authors' program for photographs, with the second divergence at a tenth; batches are the recipe's",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = None  # the head is trained on random features

    trade_off: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the divergence from source to target")
    aux_weight: float = hp(0.01, 0.001, 0.3, log=True, help="weight of the divergence from target to source")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"spread": nn.Linear(width, width)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ss, st = softplus(net.spread(fs)), softplus(net.spread(ft))
        zs = fs + ss * normal(tuple(fs.shape), t.step, fs, "source")
        zt = ft + st * normal(tuple(ft.shape), t.step, ft, "target")
        z, n = torch.cat([zs, zt]), len(zs)
        ratio = mixture_log_density(z, ft, st) - mixture_log_density(z, fs, ss)  # log p_t - log p_s
        return {
            "cls": net.criterion(net.head(zs), b.ys),
            "kl": self.trade_off * ratio[n:].mean(),
            "aux": -self.aux_weight * ratio[:n].mean(),
        }


def mixture_log_density(z: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """``log 1/m sum_j N(z_i; mean_j, diag deviation_j^2)``: z (n, d), mean, deviation (m, d) -> (n,)."""
    scale = deviation.clamp_min(1e-6)
    # the sum over d of (z - mean)^2 / scale^2 without its (n, m, d) terms; in float64, since large parts cancel
    x, y, w = z.double(), mean.double(), scale.double().square().reciprocal()
    gap = (x.square() @ w.T - 2.0 * x @ (y * w).T + (y.square() * w).sum(-1)).clamp_min(0.0).to(z.dtype)
    log_n = -0.5 * gap - torch.log(scale).sum(-1) - 0.5 * z.shape[-1] * math.log(2.0 * math.pi)
    return torch.logsumexp(log_n, 1) - math.log(len(mean))
