"""IWCDAN: CDAN whose discriminator sees the source with the target's class shares. Tachet des Combes, Zhao, Wang,
Gordon, NeurIPS 2020.

    min_{F,C} max_D  1/b sum_i w(y_i) CE(C(f_s,i), y_i) / (C p_s(y_i))
                     - trade_off * r(t) * [sum_i w(y_i) BCE(D(h_s,i), 1) + sum_j BCE(D(h_t,j), 0)] / (2 b)

f = F(x) (b, width), h = g (x) f (b, C * width) with g = softmax(C(f)) (b, C), a constant here; the class weights w (C,)
are those of ``iwdan``.

Evidence: tests/test_frontier.py (equal shares and w = 1 are CDAN; transcription; formulas compared with the authors'
program).
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
from dazoo.ops.adversarial import conditional_map, domain_bce_joint
from dazoo.ops.reversal import reverse_gradient


@register
class IWCDAN(GradientMethod):
    """Importance-weighted conditional domain-adversarial network."""

    paper = Paper(
        title="Domain Adaptation with Conditional Distribution Matching and Generalized Label Shift",
        authors="Remi Tachet des Combes, Han Zhao, Yu-Xiang Wang, Geoff Gordon", year=2020,
        url="https://arxiv.org/abs/2003.04475", venue="NeurIPS",
        deviations="as for iwdan and cdan: a full pass per epoch, no batch normalisation in the discriminator, no "
        "certainty weights",
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
        disc = mlp(width * n_classes, self.disc_width, self.disc_width, 1)
        return {"disc": disc, "class_ratio": ClassRatio(n_classes)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return net.class_ratio.renew(look, self.decay)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        f = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)
        joint = conditional_map(torch.cat([ls, lt]).detach().softmax(1), f)
        weights = row_weights(b.memory["ratio"], b.ys, len(ft))
        return {
            "cls": class_weighted(ls, b.ys, b.memory["even"] * b.memory["ratio"]),
            "dom": domain_bce_joint(net.disc(joint).squeeze(-1), len(fs), weights),
        }

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return net.class_ratio.says(super().predict(net, x))
