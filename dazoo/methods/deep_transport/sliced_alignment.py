"""Sliced alignment: match one-dimensional projections of the domains. Gabourie, Rostami et al., Allerton 2019.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * SW(f_s, f_t) + class_weight * r(t) * 1/|S| sum_{c in S} SW_c
    SW(a, b) = 1/M sum_m integral_0^1 (Q_a'm(u) - Q_b'm(u))^2 du

over M random unit directions m, drawn anew at every step; Q are the quantile functions of the projected samples f m,
f = F(x) (b, width). SW_c compares the source samples of class c with all target samples weighted by their predicted
probability of c, for the classes S of the source batch; the weights are constants. r is the recipe's ramp.

Evidence: tests/test_deep_transport.py (test_sliced_distance_of_equal_sizes_sorts,
test_sliced_distance_equals_weighted_quantiles, test_sliced_alignment_adds_classes).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import normalised, one_hot
from dazoo.ops.draws import unit_directions
from dazoo.ops.sliced import sliced_by_class


@register
class SlicedAlignment(GradientMethod):
    """Sliced Wasserstein alignment of features, overall and class by class."""

    paper = Paper(
        title="Learning a Domain-Invariant Embedding for Unsupervised Domain Adaptation Using Class-Conditioned "
        "Distribution Alignment",
        authors="Alexander J. Gabourie, Mohammad Rostami, Philip E. Pope, Soheil Kolouri, Kyungnam Kim",
        year=2019,
        url="https://arxiv.org/abs/1907.02271", venue="Allerton",
        deviations="every target sample enters a class with its predicted probability; the paper admits confident "
        "samples with their predicted label, a growing number of them",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 100.0, log=True, help="weight of the sliced distance of the domains")
    class_weight: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the class-wise sliced distances")
    projections: int = hp(64, 8, 512, log=True, help="number of directions per step")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        directions = unit_directions(fs.shape[1], self.projections, t.step, fs)
        us, present = normalised(one_hot(b.ys, ls.shape[1], fs.dtype))
        ut, _ = normalised(lt.detach().softmax(1))
        # a class that the batch lacks has weights of zero; uniform ones in their place keep the sort finite
        us = us + (1.0 - present) / len(fs)
        us, ut = (torch.cat([u, torch.full_like(u[:, :1], 1.0 / len(u))], 1) for u in (us, ut))  # all alike, last
        *_, both = per_class = sliced_by_class(fs, ft, directions, us, ut)
        return {
            "cls": net.criterion(ls, b.ys),
            "sliced": self.trade_off * both,
            "sliced_class": self.class_weight
            * t.ramp
            * (per_class[:-1] * present).sum()
            / present.sum().clamp_min(1.0),
        }
