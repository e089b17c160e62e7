"""SymNets: a source and a target classifier whose union is the domain discriminator. Zhang, Tang, Jia, Tan, CVPR 2019.

    p^st = softmax([C_s(f), C_t(f)]) (b, 2C),  its halves p^s-half and p^t-half
    phase 1, C_s and C_t:  min CE(C_s(f_s), y_s) + CE(C_t(f_s), y_s)
                               - E_s log sum_c p^s-half_c - E_t log sum_c p^t-half_c
    phase 2, F:  min L_cat + trade_off * r(t) * (L_dom + L_ent)
        L_cat = -1/2 E_s [log p^s-half_y + log p^t-half_y]
        L_dom = -1/2 E_t [log sum_c p^s-half_c + log sum_c p^t-half_c]
        L_ent = E_t H(p^s-half + p^t-half)

C_t is ``head`` (it predicts the target), C_s is ``head_s``, both linear width -> C; features (b, width). F learns of
classes through L_cat alone, so it wants a pretrained encoder: from scratch and over a large shift, L_ent gathers the
target in one class (``digits/upright->rotated`` falls to chance).

Evidence: tests/test_adversarial.py, tests/test_adversarial_limits.py (transcription of both phases; confusion is least
for equal halves; what moves).
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import Batch, GradientMethod, Phase, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.games import category_confusion, domain_level_confusion, merged_entropy, symmetric_domain


@register
class SymNets(GradientMethod):
    """Domain-symmetric networks."""

    paper = Paper(
        title="Domain-Symmetric Networks for Adversarial Domain Adaptation",
        authors="Yabin Zhang, Hui Tang, Kui Jia, Mingkui Tan",
        year=2019,
        url="https://arxiv.org/abs/1904.04663", venue="CVPR",
        deviations="no gain at the defaults from scratch under large shifts, where it collapses; the paper starts from "
        "ImageNet, and so should it here",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    neutral = None
    phases = (Phase("losses_classifiers", update=("head", "head_s")), Phase("losses", update=("body",)))

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of domain-level confusion and entropy")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"head_s": nn.Linear(width, n_classes)}

    def losses_classifiers(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = (f.detach() for f in net.features(b.xs, b.xt, b.held))
        zs, zt = net.head_s(fs), net.head(fs)
        return {
            "cls": net.criterion(zs, b.ys),
            "cls_t": net.criterion(zt, b.ys),
            "dom_s": symmetric_domain(zs, zt, source=True),
            "dom_t": symmetric_domain(net.head_s(ft), net.head(ft), source=False),
        }

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        strength = self.trade_off * t.ramp
        zs, zt = net.head_s(ft), net.head(ft)
        return {
            "cat": category_confusion(net.head_s(fs), net.head(fs), b.ys),
            "conf": strength * domain_level_confusion(zs, zt),
            "ent": strength * merged_entropy(zs, zt),
        }

    def predict_source(self, net: Net, x: Tensor) -> Prediction:
        features = net.body(x)
        return Prediction(net.head_s(features), features)
