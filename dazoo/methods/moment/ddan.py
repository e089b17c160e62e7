"""DDAN: weigh marginal against conditional distance by how much is left of each. Wang et al., TIST 2020.

    min_{F,C}  CE(C(f_s), y_s) + trade_off * r(t) * [(1 - mu) MMD^2(f_s, f_t) + mu * 1/|S| sum_{c in S} MMD^2_c]
    mu = 1 - A / (A + sum_c A_c),   A = 2 (1 - 2 err)

f = F(x) (b, width); MMD_c compares source samples of class c with target samples predicted as c. A is the
A-distance of the domains and A_c that of class c: err is the error of a linear classifier that tells the domains apart,
on the half of the samples it was not trained on. mu is estimated anew before every epoch. Kernels are sums of five
Gaussians around the mean squared distance; r is the recipe's ramp.

Evidence: tests/test_moment_classes.py (test_ddan_mixes_two_distances, test_a_distance_limits,
test_balance_follows_the_shift).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Look, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.adistance import conditional_share
from dazoo.ops.classwise import lmmd, one_hot
from dazoo.ops.kernels import multi_gaussian, squared_distances
from dazoo.ops.mmd import mmd_of_kernel


@register
class DDAN(GradientMethod):
    """Dynamic distribution adaptation network."""

    paper = Paper(
        title="Transfer Learning with Dynamic Distribution Adaptation",
        authors="Jindong Wang, Yiqiang Chen, Wenjie Feng, Han Yu, Meiyu Huang, Qiang Yang",
        year=2020, url="https://arxiv.org/abs/1909.08531",
        venue="ACM Transactions on Intelligent Systems and Technology (Journal)",
        deviations="the mean over classes instead of the sum; the marginal distance is the unbiased estimate; the "
        "distances are ramped up, since predictions of an untrained network name no classes",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(0.1, 0.01, 10.0, log=True, help="weight of the two distances together")

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        (fs, _), (ft, scores) = look.source, look.target
        share = conditional_share(fs, ft, look.ys, scores.argmax(1), scores.shape[1])
        return {"mu": fs.new_tensor(share)}

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        c, mu = ls.shape[1], b.memory["mu"]
        k = multi_gaussian(squared_distances(torch.cat([fs, ft])))
        within = lmmd(fs, ft, one_hot(b.ys, c, fs.dtype), one_hot(lt.argmax(1), c, ft.dtype), k)
        return {
            "cls": net.criterion(ls, b.ys),
            "marginal": self.trade_off * t.ramp * (1.0 - mu) * mmd_of_kernel(k, len(fs), unbiased=True),
            "conditional": self.trade_off * t.ramp * mu * within,
        }
