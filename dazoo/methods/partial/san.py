"""SAN: one domain discriminator per class, those of classes without target samples switched off. Cao, Long, Wang,
Jordan, CVPR 2018.

    min_{F,C} max_{D_1..D_C}  CE(C(F(x_s)), y_s) + entropy_weight * mean_j H(p_j)
        - trade_off * r(t) * sum_c w_c [1/b sum_i p_ic BCE(D_c(F(x_s,i)), 1) + 1/b sum_j p_jc BCE(D_c(F(x_t,j)), 0)] / 2
    w = v / max_c v_c,   v = mean over all target samples of p

p = softmax(C(F(x))) (b, C) are predictions, constants in the second line; w (C,) is 1 in the first pass over the data
and renewed after every pass. D_c are perceptrons width -> disc_width -> disc_width -> 1, one per class, evaluated
together.

Evidence: tests/test_partial.py (transcription class by class; a class that no target sample is predicted as has a
discriminator without gradient).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import ParallelMLP
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.partial import class_weights, selected_domain_bce
from dazoo.ops.reversal import reverse_gradient


@register
class SAN(GradientMethod):
    """Selective adversarial network."""

    paper = Paper(
        title="Partial Transfer Learning with Selective Adversarial Networks",
        authors="Zhangjie Cao, Mingsheng Long, Jianmin Wang, Michael I. Jordan", year=2018,
        url="https://arxiv.org/abs/1707.07901", venue="CVPR",
        deviations="each domain weighs one half; predictions weigh the rows as constants; class weights are divided by "
        "their largest, as in the authors' program, so that trade_off means the same for few and many classes (in the "
        "program the discriminators see features times predictions, as in MADA)",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    discriminators = ("discs",)

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy")
    disc_width: int = hp(64, 16, 256, log=True, help="width of the discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"discs": ParallelMLP(n_classes, width, self.disc_width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        scores = look.target[1]
        return {"weights": class_weights(scores) if look.step else torch.ones_like(scores[0])}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        f = reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)
        p = torch.cat([ls, lt]).detach().softmax(1)
        d = net.discs(f.expand(p.shape[1], *f.shape)).squeeze(-1).T
        return {
            "cls": net.criterion(ls, b.ys),
            "dom": selected_domain_bce(d, fs.shape[0], p, b.memory["weights"]),
            "ent": self.entropy_weight * entropy_of_logits(lt).mean(),
        }
