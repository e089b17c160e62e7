"""DeepJDOT: move features and labels together by mini-batch transport. Damodaran et al., ECCV 2018.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * min_P sum_ij P_ij (feature_weight * |f_s,i - f_t,j|^2
                                                              + label_weight * CE(C(f_t,j), y_s,i))

f = F(x) (b, width). P (b, b) is the exact plan between the batches with uniform marginals; it is found for the cost as
it stands and then held fixed, so the gradient flows through the cost alone.

Evidence: tests/test_deep_transport.py (test_deep_jdot_is_the_cheapest_joint_assignment,
test_transport_gradient_pulls_partners_together).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot
from dazoo.ops.transport import emd_plan, joint_cost, transport_loss


@register
class DeepJDOT(GradientMethod):
    """Joint distribution optimal transport inside the network."""

    paper = Paper(
        title="DeepJDOT: Deep Joint Distribution Optimal Transport for Unsupervised Domain Adaptation",
        authors="Bharath Bhushan Damodaran, Benjamin Kellenberger, Rémi Flamary, Devis Tuia, Nicolas Courty", year=2018,
        url="https://arxiv.org/abs/1803.10081", venue="ECCV",
        deviations="source batches are drawn at random, in the authors' program with equally many samples of every "
        "class; training does not start from a source model",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable: ClassVar[bool] = False  # plans are found one at a time

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the transport cost")
    feature_weight: float = hp(0.001, 1e-4, 1.0, log=True, help="share of the features in the cost")
    label_weight: float = hp(0.0001, 1e-4, 1.0, log=True, help="share of the labels in the cost")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        labels = one_hot(b.ys, ls.shape[1], ls.dtype)
        cost = joint_cost(fs, ft, labels, lt, self.feature_weight, self.label_weight)
        return {
            "cls": net.criterion(ls, b.ys),
            "transport": self.trade_off * transport_loss(emd_plan(cost), cost),
        }
