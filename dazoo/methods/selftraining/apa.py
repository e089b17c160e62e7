"""APA: predictions on the target that hold under the worst change of the features. Sun, Lu, Ling, AAAI 2023.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * 1/b sum_i KL(q_i | softmax(C(f_i + r_i)))
               + pseudo_weight * 1/b sum_i 1[max q_i >= threshold] CE(C(F(strong(x_t,i))), argmax q_i)
    q_i = stop(softmax(C(f_i))) (C,),  f_i = F(x_t,i) (width,),  r_i = radius |f_i| g_i,
    g_i = direction in which KL(q_i | softmax(C(f_i + .))) grows fastest, by one step of power iteration, |g_i| = 1

The perturbation is of the head's input: one pass through the head finds it. The gradient passes through f_i, not
through r_i.

Evidence: tests/test_frontier_selftraining.py (terms equal transcriptions; the direction is that of the largest
eigenvalue of the divergence's Hessian).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.draws import normal
from dazoo.ops.perturb import kl_of_logits, vat_direction
from dazoo.ops.selftraining import fixmatch


@register
class APA(GradientMethod):
    """Adversarial training on penultimate activations."""

    paper = Paper(
        title="Domain Adaptation with Adversarial Training on Penultimate Activations",
        authors="Tao Sun, Cheng Lu, Haibin Ling", year=2023, url="https://arxiv.org/abs/2208.12853", venue="AAAI",
        deviations="the paper's variant on activations that are not normalised; features are not of unit length and "
        "the head has no temperature, so the radius is relative to the feature's norm; its default is ours",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    strong_views = True
    toy_hparams: ClassVar[dict[str, Any]] = {"threshold": 0.3}

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the consistency under perturbed features")
    radius: float = hp(0.3, 0.05, 1.0, log=True, help="size of the perturbation, relative to the feature's norm")
    pseudo_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the pseudo-labelled strong views")
    threshold: float = hp(0.97, 0.5, 0.99, help="least confidence of a pseudo-label")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        assert b.xt_strong is not None
        fs, both = net.features(b.xs, torch.cat([b.xt, b.xt_strong]))
        ft, strong = both.chunk(2)
        scores = net.head(ft)
        start = normal(tuple(ft.shape), t.step, ft, "perturbation")
        direction = vat_direction(net.head, ft, start)
        reach = self.radius * ft.detach().norm(dim=-1, keepdim=True)
        return {
            "cls": net.criterion(net.head(fs), b.ys),
            "adv": self.trade_off * kl_of_logits(scores.detach(), net.head(ft + reach * direction)),
            "pseudo": self.pseudo_weight * fixmatch(net.head(strong), scores, self.threshold),
        }
