"""ETN: source examples weighed by an auxiliary classifier that recognises the source. Cao, You, Long, Wang, Yang, CVPR
2019.

    q_c(f) = e^{A(f)_c} / (C + sum_k e^{A(f)_k}),   G(f) = sum_c q_c(f)                           (leaky softmax)
    min_A  1/b sum_i sum_c BCE(q_c(f_i), 1[y_i = c]) + aux_dom * [1/b sum_i BCE(G(f_i), 1) + 1/b sum_j BCE(G(f_j), 0)]
    min_{F,C} max_D  1/b sum_i w_i CE(C(f_i), y_i) + entropy_weight * mean_j H(C(f_j))
        - trade_off * r(t) * [1/b sum_i w_i BCE(D(f_i), 1) + 1/b sum_j BCE(D(f_j), 0)] / 2
    w_i = (1 - G(f_i)) / mean_i (1 - G(f_i))

f = F(x) (b, width), constants for A; i over the source batch, j over the target's. A (``aux``) and D are
perceptrons width -> disc_width -> disc_width -> C and -> 1, A's hidden layers with dropout, without which it knows a
small source by heart.

Evidence: tests/test_parity.py (pda_etn_aux), tests/test_partial.py (transcription; a constant A gives equal weights).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.classwise import one_hot
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.partial import leaky_domain_bce, leaky_one_vs_rest, transferability
from dazoo.ops.reversal import reverse_gradient
from dazoo.ops.selftraining import hard_cross_entropy


@register
class ETN(GradientMethod):
    """Example transfer network."""

    paper = Paper(
        title="Learning to Transfer Examples for Partial Domain Adaptation",
        authors="Zhangjie Cao, Kaichao You, Mingsheng Long, Jianmin Wang, Qiang Yang", year=2019,
        url="https://arxiv.org/abs/1903.12230", venue="CVPR",
        deviations="discriminator and auxiliary classifier are as wide as disc_width says; the adversary's domains "
        "weigh one half each",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    neutral = None
    stackable = False  # draws its dropout

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    entropy_weight: float = hp(0.2, 0.02, 1.0, log=True, help="weight of the target's entropy")
    aux_dom: float = hp(10.0, 1.0, 20.0, log=True, help="weight of the domains in the auxiliary classifier's loss")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's and A's hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        hidden = self.disc_width
        first, second = mlp(width, hidden, final=True), mlp(hidden, hidden, final=True)
        return {
            "disc": mlp(width, hidden, hidden, 1),
            "aux": nn.Sequential(*first, nn.Dropout(0.5), *second, nn.Dropout(0.5), nn.Linear(hidden, n_classes)),
        }

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        f, n = torch.cat([fs, ft]), fs.shape[0]
        ls, a = net.head(fs), net.aux(f.detach())
        w = transferability(a[:n])
        d = net.disc(reverse_gradient(f, self.trade_off * t.ramp)).squeeze(-1)
        return {
            "cls": hard_cross_entropy(ls, b.ys, w),
            "dom": domain_bce(d, n, torch.cat([w, torch.ones_like(d[n:])])),
            "ent": self.entropy_weight * entropy_of_logits(net.head(ft)).mean(),
            "aux_cls": leaky_one_vs_rest(a[:n], one_hot(b.ys, a.shape[1], a.dtype)),
            "aux_dom": self.aux_dom * leaky_domain_bce(a[:n], a[n:]),
        }
