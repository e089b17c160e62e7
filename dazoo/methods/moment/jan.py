"""JAN: match the joint distribution of several layers. Long, Zhu, Wang, Jordan, ICML 2017.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * r(t) * JMMD
    JMMD = | mean_i phi(f_s,i) (x) psi(p_s,i) - mean_j phi(f_t,j) (x) psi(p_t,j) |^2

with features f (b, width) and probabilities p = softmax(C(f)) (b, C), so the kernel is the product of the layers'
kernels: five Gaussians around the mean squared distance on f, one Gaussian of sigma 0.92 on p. r is the recipe's ramp,
the paper's schedule from 0 to 1. ``linear`` uses the estimator over cyclic pairs.

Evidence: tests/test_parity.py (jan_jmmd), tests/test_moment.py (test_jan_is_the_mmd_of_a_product_kernel).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.mmd import joint_mmd


@register
class JAN(GradientMethod):
    """Joint adaptation network."""

    paper = Paper(
        title="Deep Transfer Learning with Joint Adaptation Networks",
        authors="Mingsheng Long, Han Zhu, Jianmin Wang, Michael I. Jordan",
        year=2017,
        url="https://arxiv.org/abs/1605.06636", venue="ICML",
        deviations="without the adversarial variant JAN-A; the quadratic estimator is the default; five bandwidths "
        "around the mean squared distance on features and one of 0.92 on probabilities, in the paper one at the median "
        "for every layer",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the joint MMD, reached by the ramp")
    linear: bool = hp(False, choices=(False, True), help="linear-time estimator instead of the quadratic one")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        distance = joint_mmd((fs, ls.softmax(1)), (ft, lt.softmax(1)), linear=self.linear)
        return {"cls": net.criterion(ls, b.ys), "jmmd": self.trade_off * t.ramp * distance}
