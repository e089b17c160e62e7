"""STA: separate target samples by degrees, then adapt the known ones. Liu, Cao, Long, Wang, Yang, CVPR 2019.

    min  CE(C(f_s), y_s)        C has K + 1 scores, the last one for "unknown"
    min_G  1/(b K) sum_i sum_k BCE(G_k(f_s,i), 1[k = y_i])                     K classifiers "class k or not"
    min_B  BCE(B(f_t), 1) over the rows of highest, BCE(B(f_t), 0) over those of lowest max_k G_k(f_t)
    min_{F,C} max_D  -trade_off * r(t) * [E_s BCE(D(f_s), 1) + E_t w BCE(D(f_t), 0)]
    min_{F,C}  entropy_weight * E_t w H(softmax(C(f_t)))  +  unknown_weight * E_{rows of smallest w} CE(C(f_t), K + 1)

f = F(x) (b, width), taken as constants by G and B; w = B(f_t) in (0, 1) without gradient. Extremes are ``share`` of a
batch on either side. The first ``warm`` of training has the first three lines alone; rows are pushed to "unknown" in
the last fifth. A row is unknown where that score is the largest.

Evidence: tests/test_parity.py (oda_sta_stage2), tests/test_open_set.py (terms by stage; who moves).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.methods.open_set._extra import extra_class, open_prediction, open_scores
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.classwise import one_hot
from dazoo.ops.openset import known_unknown_terms
from dazoo.ops.reversal import reverse_gradient


@register
class STA(GradientMethod):
    """Separate to adapt."""

    paper = Paper(
        title="Separate to Adapt: Open Set Domain Adaptation via Progressive Separation",
        authors="Hong Liu, Zhangjie Cao, Mingsheng Long, Jianmin Wang, Qiang Yang",
        year=2019, venue="CVPR",
        url="https://openaccess.thecvf.com/content_CVPR_2019/html/"
        "Liu_Separate_to_Adapt_Open_Set_Domain_Adaptation_via_Progressive_Separation_CVPR_2019_paper.html",
        deviations="one training run with stages, where the authors' program trains the separation first and then a "
        "new network; rows are ranked by the largest of the K classifiers, in the program by their sum; the rows "
        "pushed to \"unknown\" are as many as the extremes",
    )  # fmt: skip
    handles = Handles(labels="open", n_sources={"one", "many"})
    neutral = None

    trade_off: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the reversed gradient")
    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the known rows' entropy")
    unknown_weight: float = hp(0.3, 0.03, 3.0, log=True, help="weight of the rows pushed to the unknown class")
    share: float = hp(0.0625, 0.02, 0.25, most=0.5, help="share of a batch that is extreme on either side")
    warm: float = hp(0.3, 0.1, 0.5, help="share of training that learns to separate before it adapts")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the hidden layers of D and B")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {
            **extra_class(width),
            "ova": nn.Linear(width, n_classes),
            "split": mlp(width, self.disc_width, 1),
            "disc": mlp(width, self.disc_width, self.disc_width, 1),
        }

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ps = open_scores(net, fs).softmax(1)
        ova, still = net.ova(fs.detach()), ft.detach()
        alike = net.ova(still).detach().amax(1)
        k = max(1, round(self.share * len(ft)))
        split = net.split(still).squeeze(1)
        high, low = alike.topk(k).indices, alike.topk(k, largest=False).indices
        separate = {
            "ova": bce(ova, one_hot(b.ys, ova.shape[1], ova.dtype)),
            "split": bce(split[high], torch.ones_like(split[:k])) + bce(split[low], torch.zeros_like(split[:k])),
        }
        pt, known = open_scores(net, ft).softmax(1), split.detach().sigmoid()
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), t.ramp)).squeeze(1).sigmoid()
        pu = pt[known.topk(k, largest=False).indices]
        terms = known_unknown_terms(ps, b.ys, pt, known, d[: len(fs)], d[len(fs) :], pu)
        if t.fraction < self.warm:
            return {"cls": terms["cls"], **separate}
        adapt = {
            "cls": terms["cls"],
            **separate,
            "dom": self.trade_off * terms["dom"],
            "ent": self.entropy_weight * terms["ent"],
        }
        return adapt if t.fraction < 0.8 else {**adapt, "unknown": self.unknown_weight * terms["unknown"]}

    def predict(self, net: Net, x: Tensor) -> Prediction:
        return open_prediction(net, x)
