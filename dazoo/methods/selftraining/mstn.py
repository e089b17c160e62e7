"""MSTN: adversarial alignment and aligned class centroids. Xie, Zheng, Chen, Chen, ICML 2018.

    min_{F,C} max_D  CE(C(F(x_s)), y_s) - trade_off * r(t) * [BCE(D(F(x_s)), 1) + BCE(D(F(x_t)), 0)] / 2
                     + semantic_weight * r(t) * 1/C sum_c |mu_s,c - mu_t,c|^2
    mu_c <- decay * mu_c + (1 - decay) * mean of the batch's features of class c     (source labels, target argmax)

Centroids mu (C, width) are moving averages whose gradient is that of the current batch; r is the recipe's ramp. With
``as_program`` the domain loss is a tenth of the two domains' sum, the distance is a mean over classes and features, and
the centroid of a class that a batch lacks fades to (1 - decay) 0 + decay mu_c.

Evidence: tests/test_selftraining_teachers.py (two steps of the averages and the loss equal a transcription in loops).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.nets.parts.centroids import Centroids
from dazoo.nets.parts.common import mlp
from dazoo.ops.adversarial import domain_bce
from dazoo.ops.classwise import centroid_distance, one_hot
from dazoo.ops.reversal import reverse_gradient


@register
class MSTN(GradientMethod):
    """Moving semantic transfer network."""

    paper = Paper(
        title="Learning Semantic Representations for Unsupervised Domain Adaptation",
        authors="Shaoan Xie, Zibin Zheng, Liang Chen, Chuan Chen",
        year=2018, url="https://proceedings.mlr.press/v80/xie18c.html", venue="ICML",
        deviations="the distance of centroids is a mean over the classes, in the paper a sum (semantic_weight times C) "
        "and in the authors' program a mean over classes and features; the program's domain loss has weight 0.1 and "
        "adds the domains, and centroids of absent classes fade there (as_program has all three); the discriminator is "
        "as wide as disc_width says, without dropout; classes that neither domain has shown yet count with equal "
        "(zero) centroids",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the reversed gradient")
    semantic_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the centroids' distance")
    decay: float = hp(0.7, 0.3, 0.95, help="share of a centroid that stays per step")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the discriminator's hidden layers")
    as_program: bool = hp(False, help="averages and the weight 0.1 of the domain loss as in the authors' program")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {
            "disc": mlp(width, self.disc_width, self.disc_width, 1),
            "centroids_s": Centroids(n_classes, width),
            "centroids_t": Centroids(n_classes, width),
        }

    def features(self, net: Net, b: Batch) -> tuple[Tensor, Tensor]:
        """Source and target features (b, width)."""
        return net.features(b.xs, b.xt)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = self.features(net, b)
        scores, c = net.head(fs), net.head.out_features
        d = net.disc(reverse_gradient(torch.cat([fs, ft]), self.trade_off * t.ramp)).squeeze(-1)
        fade = self.as_program
        mu_s = net.centroids_s(fs, one_hot(b.ys, c, fs.dtype), self.decay, fade)
        mu_t = net.centroids_t(ft, one_hot(net.head(ft.detach()).argmax(-1), c, ft.dtype), self.decay, fade)
        dom, sem = domain_bce(d, len(fs)), centroid_distance(mu_s, mu_t)
        if self.as_program:  # 0.1 of the domains' sum, which is twice their mean
            dom, sem = 0.2 * dom, sem / fs.shape[1]
        return {
            "cls": net.criterion(scores, b.ys),
            "dom": dom,
            "sem": self.semantic_weight * t.ramp * sem,
        }
