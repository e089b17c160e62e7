"""IWDAN: a discriminator that sees the source with the target's class shares. Tachet des Combes, Zhao, Wang, Gordon,
NeurIPS 2020.

    min_{F,C} max_D  1/b sum_i w(y_i) CE(C(f_s,i), y_i) / (C p_s(y_i))
                     - trade_off * r(t) * [1/b sum_i w(y_i) BCE(D(f_s,i), 1) + 1/b sum_j BCE(D(f_t,j), 0)] / 2
    w = argmin_{w >= 0, p_s'w = 1} |q - M w|^2,   M_ij = 1/n_s sum_k C_i(f_s,k) 1(y_k = j),   q = 1/n_t sum_k C(f_t,k)

f = F(x) (b, width), C its softmax predictions (C,), M (C, C), q and w (C,). Once per epoch w moves by 1 - decay towards
the solution, from 1, which it stays for the first epoch. Under generalised label shift, where p(f|y) of both domains
can be made equal, w is p_t(y) / p_s(y), and the weighted source the target.

Evidence: tests/test_frontier.py (equal shares and w = 1 are DANN, value and gradient; transcription; w equals the
true ratio where the confusions are exact, and no allowed ratio explains predictions better elsewhere; formulas
compared with the authors' program).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.adversarial._class_ratio import ClassRatio, class_weighted, row_weights
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.reversal import reverse_gradient


@register
class IWDAN(GradientMethod):
    """Importance-weighted domain-adversarial network."""

    paper = Paper(
        title="Domain Adaptation with Conditional Distribution Matching and Generalized Label Shift",
        authors="Remi Tachet des Combes, Han Zhao, Yu-Xiang Wang, Geoff Gordon", year=2020,
        url="https://arxiv.org/abs/2003.04475", venue="NeurIPS",
        deviations="confusions and predictions come from a full pass per epoch instead of the epoch's batches; the "
        "source's are those of training samples, as in the paper; w solves the least squares above (the authors' "
        "program multiplies q by M where they ask for its transpose)",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable = False
    later = ClassRatio.LATER
    neutral = None  # the classes count alike in its classification loss
    revision = 1  # the classification has the weights w too

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    decay: float = hp(0.5, 0.0, 0.9, help="share of the class weights that stays per epoch")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1), "class_ratio": ClassRatio(n_classes)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return net.class_ratio.renew(look, self.decay)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        weights = row_weights(b.memory["ratio"], b.ys, len(ft))
        return {
            "cls": class_weighted(net.head(fs), b.ys, b.memory["even"] * b.memory["ratio"]),
            "dom": domain_bce(d, len(fs), weights),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return net.class_ratio.says(super().predict(net, x))
