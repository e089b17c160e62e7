"""AR: source samples weighed so that a critic finds the domains close. Gu, Yu, Yang, Sun, Xu, NeurIPS 2021.

    min_w max_D  1/n_s sum_i w_i D(f_i) - 1/n_t sum_j D(f_j) - penalty_weight * mean_h (|grad_h D(h)| - 1)^2
        over w >= 0 (n_s,),  mean_i w_i = 1,  mean_i (w_i - 1)^2 <= budget
    min_{F,C}    1/b sum_i w_i CE(C(F(x_i)), y_i) + entropy_weight * mean_j H(C'(F(x_j)))

C' is C as a constant. f = F(x) / |F(x)| (b, width), h runs over the f of both domains. D, a perceptron width ->
disc_width -> 1, is trained in a phase of its own. w is 1 in the first pass over the data and solved for exactly after
every pass, on all source samples: max(0, v - D(f_i)) scaled to mean 1 (any scale of D gives the same), and no
further than to where the weighted mean of D is the target's.

Evidence: tests/test_partial.py (the weights equal scipy's constrained optimum; transcription of both phases; the
critic's phase moves the critic alone).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Phase, Progress, register
from dazoo.methods.deep_transport.wdgrl import gradient_penalty
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.entropy import entropy_of_logits
from dazoo.ops.partial import weights_in_budget
from dazoo.ops.selftraining import hard_cross_entropy


@register
class AR(GradientMethod):
    """Adversarial reweighting."""

    paper = Paper(
        title="Adversarial Reweighting for Partial Domain Adaptation",
        authors="Xiang Gu, Xi Yu, Yan Yang, Jian Sun, Zongben Xu", year=2021,
        url="https://proceedings.neurips.cc/paper/2021/hash/7ce3284b743aefde80ffd9aec500e085-Abstract.html",
        venue="NeurIPS",
        deviations="weights are renewed after every pass over the data instead of every 500 iterations, by bisection "
        "instead of a cone programme; the critic goes on learning beside the network, in the authors' program a new "
        "one is trained for thousands of steps at every renewal, penalised between the domains too and ever more, and "
        "the budget is adjusted until the distance lies in a range; only the critic sees features of fixed length, in "
        "the paper the head, a cosine classifier, too; where the source's classifier is wrong about most of the "
        "target, weights and entropy feed each other until one class is left (suite partial_digits, networks from "
        "scratch); on features of a pretrained network it gains (partial_office_caltech10)",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    neutral = None
    discriminators = ()  # a critic has no threshold: its scores are no logits
    phases: ClassVar[tuple[Phase, ...]] = (
        Phase("critic", update=("disc",)),
        Phase("losses", update=("body", "head")),
    )

    entropy_weight: float = hp(0.1, 0.01, 1.0, log=True, help="weight of the target's entropy")
    budget: float = hp(5.0, help="largest mean squared change of the weights")
    penalty_weight: float = hp(1.0, 0.1, 5.0, log=True, help="weight of the gradient penalty on the critic")
    disc_width: int = hp(256, 32, 1024, log=True, help="width of the critic's hidden layer")

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        return {"disc": mlp(width, self.disc_width, 1)}

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        ds, dt = (net.disc(normalize(f, dim=-1)).squeeze(-1) for f in (look.source[0], look.target[0]))
        if not look.step:  # the critic has learnt nothing yet
            return {"weights": torch.ones_like(ds)}
        return {"weights": weights_in_budget(ds, self.budget, float(dt.mean())).to(ds.dtype)}

    def critic(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = (f.detach() for f in net.features(b.xs, b.xt, b.held))
        n, f = fs.shape[0], normalize(torch.cat([fs, ft]), dim=-1)
        d = net.disc(f).squeeze(-1)
        return {
            "critic": d[n:].mean() - (b.memory["weights"][b.s_rows] * d[:n]).mean(),
            "penalty": self.penalty_weight * gradient_penalty(net.disc, f),
        }

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt, b.held)
        scores = linear(ft, net.head.weight.detach(), net.head.bias.detach())
        return {
            "cls": hard_cross_entropy(net.head(fs), b.ys, b.memory["weights"][b.s_rows]),
            "ent": self.entropy_weight * entropy_of_logits(scores).mean(),
        }
