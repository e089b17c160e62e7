"""m-POT: mini-batch transport of the part of the mass that is cheapest to move. Nguyen, Nguyen, Pham, Ho, ICML 2022.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * sum_ij P_ij (feature_weight * |f_s,i - f_t,j|^2
                                                             + label_weight * CE(C(f_t,j), y_s,i))
    P = argmin_P <P, c>   over P >= 0 with P 1 <= 1/b, P' 1 <= 1/b and total mass ``mass``

f = F(x) (b, width), c (b, b) the bracket. Samples that only the draw of a mini-batch puts opposite each other are dear,
and stay where they are. mass = 1 is mini-batch optimal transport with exact plans. P is held fixed; the gradient flows
through the cost. The source's half of a batch holds every class floor(b/C) times or once more, as in the authors'
program: of two batches drawn blindly a quarter of the mass has no counterpart of its class, and what is moved beyond
ends at another class.

Evidence: tests/test_frontier.py (the plan solves the linear programme, for mass 1 that of mini-batch transport;
outliers of a batch are left alone; classes take turns in the source's half; formulas compared with the authors'
program).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Generator, Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register
from dazoo.nets.net import Net
from dazoo.ops.batches import even_groups
from dazoo.ops.classwise import one_hot
from dazoo.ops.transport import joint_cost, partial_plan, transport_loss


@register
class MPOT(GradientMethod):
    """Mini-batch partial optimal transport."""

    paper = Paper(
        title="Improving Mini-batch Optimal Transport via Partial Transportation",
        authors="Khai Nguyen, Dang Nguyen, The-Anh Vu-Le, Tung Pham, Nhat Ho", year=2022,
        url="https://arxiv.org/abs/2108.09645", venue="ICML",
        deviations="one pair of batches per step; the weights of the cost are those of jumbot; mass is between the "
        "paper's values for digits (0.85) and for Office-Home (0.5 to 0.7)",
    )  # fmt: skip
    handles = Handles(n_sources={"one", "many"})
    stackable: ClassVar[bool] = False  # plans are found one at a time
    revision = 1  # even draws of the source's classes
    neutral = None  # these are other batches than source_only's

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the transport cost")
    feature_weight: float = hp(0.01, 1e-3, 1.0, log=True, help="share of the features in the cost")
    label_weight: float = hp(0.5, 1e-3, 1.0, log=True, help="share of the labels in the cost")
    mass: float = hp(0.75, 0.3, 1.0, help="share of the mass that is moved", positive=True)

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        return even_groups(rows, ys, gen)

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        ls, lt = net.head(fs), net.head(ft)
        labels = one_hot(b.ys, ls.shape[1], ls.dtype)
        cost = joint_cost(fs, ft, labels, lt, self.feature_weight, self.label_weight)
        plan = partial_plan(cost, float(self.mass))
        return {"cls": net.criterion(ls, b.ys), "transport": self.trade_off * transport_loss(plan, cost)}
