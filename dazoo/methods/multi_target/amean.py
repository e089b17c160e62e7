"""AMEAN: features that tell neither source from target nor the targets from each other. Chen et al., CVPR 2019.

    min_{F,C} max_{D,M}  CE(C(f_s), y_s) + ent_weight * mean H(softmax(C(f_t)))
                         - trade_off * r(t) * [BCE(D(f_s), 1) + BCE(D(f_t), 0)] / 2
                         - split_weight * t * CE(M(f_t), part of x_t)

by gradient reversal: D and M descend their own losses. t is the fraction of training, r the recipe's ramp. The part of
a target sample is its target, where several are told apart. Where nobody does (one target, or blind ones) it is one of
k clusters, by k-means, of what is left of the target's features f when the mean of the predicted class is taken off,
since clusters of f itself are the classes, and features that hide these are useless. They are found anew each epoch
from the last centres.

Evidence: tests/test_multi_target.py (test_amean_terms, test_amean_looks_for_parts_in_a_blind_pool).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.methods.universal._clusters import kmeans
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.reversal import reverse_gradient


@register
class AMEAN(GradientMethod):
    """Adversarial meta-adaptation network for blended targets."""

    paper = Paper(
        title="Blending-Target Domain Adaptation by Adversarial Meta-Adaptation Networks",
        authors="Ziliang Chen, Jingyu Zhuang, Xiaodan Liang, Liang Lin",
        year=2019, url="https://arxiv.org/abs/1907.03389", venue="CVPR",
        deviations="known targets are the parts where the task tells them apart, the paper always clusters; k-means on "
        "features less their class mean instead of a deep clustering network beside them; without the virtual "
        "adversarial term of the authors' program",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient of source against target")
    split_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient of the target's parts")
    ent_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy")
    clusters: int = hp(3, 2, 6, help="number of parts where targets are not told apart")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminators' hidden layers")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, self.disc_width, 1)}

    def setup(self, net: Net) -> None:
        parts = net.n_targets if net.n_targets > 1 else self.clusters
        net.add_module("parts", mlp(net.body.width, self.disc_width, self.disc_width, parts))

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        if net.n_targets > 1 and look.target_domain is not None:
            return {"part": look.target_domain}
        f, scores = look.target
        belongs = one_hot(scores.argmax(-1), scores.shape[-1], f.dtype)
        centres, part = kmeans(f - belongs @ class_means(f, belongs)[0], self.clusters, look.memory.get("centres"))
        return {"part": part, "centres": centres}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        m = net.parts(reverse_gradient(ft, self.split_weight * t.fraction))
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "dom": domain_bce(d, len(fs)),
            "split": functional.cross_entropy(m, b.memory["part"][b.t_rows]),
            "ent": self.ent_weight * entropy_of_logits(net.head(ft)).mean(),
        }
