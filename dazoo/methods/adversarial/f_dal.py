"""f-DAL: an adversarial head that measures an f-divergence of the domains. Acuna, Zhang, Law, Fidler, ICML 2021.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * r(t) * D
    max_{C'}   D = E_s[a(v_s)] - E_t[f*(a(v_t))],   v = C'(f)[argmax C(f)]

with f = F(x) (b, width), scores (b, C), C' a perceptron width -> width -> C, a an activation onto the domain of the
conjugate f*:

    pearson   a(v) = v                       f*(u) = u^2 / 4 + u
    jensen    a(v) = log 2 - softplus(-v)    f*(a(v)) = softplus(v) - log 2
    kl        a(v) = v                       f*(u) = exp(u - 1)

C' ascends D at full rate, F descends it scaled by trade_off * r(t), through gradient reversal; C is not moved by D.

Evidence: tests/test_frontier.py (transcription; every activation and conjugate bound the divergence of two known
densities from below and reach it; who moves which way).
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
from dazoo.nets.parts.common import mlp
from dazoo.ops.discrepancy import pick
from dazoo.ops.reversal import reverse_gradient


@register
class FDAL(GradientMethod):
    """f-domain-adversarial learning."""

    paper = Paper(
        title="f-Domain-Adversarial Learning: Theory and Algorithms",
        authors="David Acuna, Guojun Zhang, Marc T. Law, Sanja Fidler", year=2021,
        url="https://arxiv.org/abs/2106.11344", venue="ICML",
        deviations="the head is linear, as for every method here, and the adversarial one has a hidden layer (the "
        "paper gives both the same form); the exponent of kl is cut at 20",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the divergence's gradient to the features")
    divergence: str = hp("pearson", choices=("pearson", "jensen", "kl"), help="the f-divergence that is measured")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"adv": mlp(width, width, n_classes)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        strength = self.trade_off * t.ramp
        vs = pick(net.adv(reverse_gradient(fs, strength)), ls.detach().argmax(-1))
        vt = pick(net.adv(reverse_gradient(ft, strength)), lt.detach().argmax(-1))
        return {"cls": net.criterion(ls, b.ys), "div": -f_divergence(vs, vt, self.divergence)}


def f_divergence(vs: Tensor, vt: Tensor, name: str) -> Tensor:
    """``E_s[a(v_s)] - E_t[f*(a(v_t))]`` of the divergence ``name``: (n,), (m,)."""
    if name == "jensen":
        return math.log(2.0) - softplus(-vs).mean() - (softplus(vt) - math.log(2.0)).mean()
    conjugate = vt.square() / 4.0 + vt if name == "pearson" else torch.exp((vt - 1.0).clamp_max(20.0))
    return vs.mean() - conjugate.mean()
