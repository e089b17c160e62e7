"""JUMBOT: joint transport that may leave samples unmatched. Fatras, Sejourne, Flamary, Courty, ICML 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * sum_ij P_ij (feature_weight * |f_s,i - f_t,j|^2
                                                             + label_weight * CE(C(f_t,j), y_s,i))
    P = argmin_P <P, c> + reg KL(P | a b') + mass (KL(P 1 | a) + KL(P' 1 | b))

f = F(x) (b, width), c (b, b) the bracket, a and b uniform. ``mass`` sets how dear it is to leave mass where it is:
pairs that only the draw of a mini-batch puts together are not moved. P is held fixed; the gradient flows through the
cost.

Evidence: tests/test_deep_transport.py (test_jumbot_solves_the_unbalanced_problem, test_jumbot_leaves_outliers_alone).
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
from dazoo.ops.transport import joint_cost, transport_loss, unbalanced_plan


@register
class JUMBOT(GradientMethod):
    """Joint unbalanced mini-batch optimal transport."""

    paper = Paper(
        title="Unbalanced minibatch Optimal Transport; applications to Domain Adaptation",
        authors="Kilian Fatras, Thibault Séjourné, Rémi Flamary, Nicolas Courty", year=2021,
        url="https://arxiv.org/abs/2103.03606", venue="ICML",
        deviations="batches are not balanced by class; the plan is that of at most 100 Sinkhorn iterations; the "
        "weights are the paper's for Office-Home (for digits it has 0.1, 0.1, 0.1 and 1); the plan's entropy is "
        "relative to a b', in the POT release of the authors' program it was not",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable: ClassVar[bool] = False  # plans are found one at a time

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the transport cost")
    feature_weight: float = hp(0.01, 1e-3, 1.0, log=True, help="share of the features in the cost")
    label_weight: float = hp(0.5, 1e-3, 1.0, log=True, help="share of the labels in the cost")
    reg: float = hp(0.01, 0.01, 0.5, log=True, help="entropic regularisation of the plan", positive=True)
    mass: float = hp(0.5, 0.1, 10.0, log=True, help="price of leaving mass unmatched", positive=True)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        labels = one_hot(b.ys, ls.shape[1], ls.dtype)
        cost = joint_cost(fs, ft, labels, lt, self.feature_weight, self.label_weight)
        plan = unbalanced_plan(cost, self.reg, self.mass, iterations=100)
        return {"cls": net.criterion(ls, b.ys), "transport": self.trade_off * transport_loss(plan, cost)}
