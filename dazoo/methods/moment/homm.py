"""HoMM: match mixed moments of higher order. Chen, Fu, Chen, Jin, Cheng, Jin, Hua, AAAI 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * mean_J (E prod_{q<=p} z_s[j_q] - E prod_{q<=p} z_t[j_q])^2
               + cluster_weight * r(t) * mean_i min_c |z_t,i - mu_c|^2 over confident i

z = tanh(F) (b, width); J = (j_1 .. j_p) are ``samples`` index
tuples drawn anew at every step. The second term pulls confident target samples (largest probability above
``confidence``) to the centre mu_c (C, width) of their predicted class, computed on the source batch.

Evidence: tests/test_moment.py (test_homm_compares_sampled_mixed_moments, test_homm_of_order_two_sees_covariance).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import center_loss, class_means, one_hot
from dazoo.ops.draws import index_tuples
from dazoo.ops.moments import higher_order


@register
class HoMM(GradientMethod):
    """Higher-order moment matching."""

    paper = Paper(
        title="HoMM: Higher-order Moment Matching for Unsupervised Domain Adaptation",
        authors="Chao Chen, Zhihang Fu, Zhihong Chen, Sheng Jin, Zhaowei Cheng, Xinyu Jin, Xian-Sheng Hua", year=2020,
        url="https://arxiv.org/abs/1912.11976", venue="AAAI",
        deviations="fewer sampled moments per step (300 000 in the paper); class centres are those of the source batch "
        "instead of moving averages over target pseudo-labels; without the kernelised form",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})

    term_needs: ClassVar[dict[str, Any]] = {"confidence": 0.0}
    knob_needs: ClassVar[dict[str, dict[str, Any]]] = {"cluster_weight": {"confidence": 0.0}}

    trade_off: float = hp(1e4, 1e2, 1e6, log=True, help="weight of the moment distance")
    cluster_weight: float = hp(0.01, 1e-3, 1.0, log=True, help="weight of the discriminative clustering")
    order: int = hp(3, 2, 4, help="order p of the moments")
    samples: int = hp(4096, 256, 65536, log=True, help="moments compared per step")
    confidence: float = hp(0.8, 0.0, 0.99, help="smallest probability of a target sample that is clustered")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        zs, zt = fs.tanh(), ft.tanh()
        index = index_tuples(zs.shape[1], self.order, self.samples, t.step, zs)
        c = ls.shape[1]
        mu, present = class_means(zs, one_hot(b.ys, c, zs.dtype))
        p, label = lt.detach().softmax(1).max(1)
        sure = one_hot(label, c, zs.dtype) * present * (p > self.confidence).to(zs.dtype)[:, None]
        return {
            "cls": net.criterion(ls, b.ys),
            "homm": self.trade_off * higher_order(zs, zt, self.order, index),
            "cluster": self.cluster_weight * t.ramp * center_loss(zt, sure, mu.detach()),
        }
