"""DSAN: match the domains class by class with soft target labels. Zhu et al., TNNLS 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(t) * LMMD
    LMMD = 1/|S| sum_{c in S} | sum_i w^s_ic phi(f_s,i) - sum_j w^t_jc phi(f_t,j) |^2

f (b, width) are features; w^s are the source's one-hot labels and w^t the predicted target probabilities, each scaled
to sum to 1 per class and taken as constants; S are the classes that the batches share. The kernel is a sum of five
Gaussians around the mean squared distance, and r the recipe's ramp, the paper's schedule from 0 to 1.

Evidence: tests/test_moment.py (test_dsan_is_a_mean_of_class_mmds).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import lmmd, one_hot


@register
class DSAN(GradientMethod):
    """Deep subdomain adaptation network."""

    paper = Paper(
        "Deep Subdomain Adaptation Network for Image Classification",
        "Zhu, Zhuang, Wang, Ke, Chen, Bian, Xiong, He", 2021,
        "https://arxiv.org/abs/2106.09388", "Journal: IEEE Transactions on Neural Networks and Learning Systems",
        deviations="a class enters only if a source row has it and it is some target row's most probable class, as in "
        "the authors' program, where the paper sums over all classes; the weight is 0.1 instead of 0.5, at which the "
        "biased estimate shrinks a network trained from scratch until it no longer fits the source",
    )  # fmt: skip
    settings = frozenset({UNSUPERVISED, MULTI_SOURCE})

    trade_off: float = hp(0.1, 0.01, 10.0, log=True, help="weight of the local MMD, reached by the ramp")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        distance = lmmd(fs, ft, one_hot(b.ys, ls.shape[1]), lt.softmax(1))
        return {"cls": net.criterion(ls, b.ys), "lmmd": self.trade_off * t.ramp * distance}
