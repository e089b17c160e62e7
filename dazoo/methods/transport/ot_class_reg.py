"""OT mapping with an Lp-L1 class regulariser. Courty, Flamary, Tuia and Rakotomamonjy, TPAMI 2017.

Every target sample should receive mass from source samples of one class only:

    min_P  <P, C / max C> + reg sum_ij P_ij (log P_ij - 1) + class_weight Omega(P)    over P 1 = 1/n_s, P' 1 = 1/n_t
    Omega(P) = sum_j sum_c (n_t m_jc + epsilon)^p / n_t,     m_jc = sum_{i: y_i = c} P_ij,     p = 1/2
    z_s,i = n_s sum_j P_ij x_t,j,      z_t = x_t

The concave Omega is majorised by its tangent (MM): with the plan of the last round, C / max C gains the constant
W_ij = class_weight p (n_t m_j,y_i + epsilon)^(p - 1), and POT's Sinkhorn solves the round.

Evidence: tests/test_transport_regularised.py::test_class_reg_equals_pots_class, test_class_reg_objective_falls,
test_class_regularisers_unmix_the_classes.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, source_of
from dazoo.methods.transport._classes import class_plan
from dazoo.methods.transport._plan import MovedByPlan, top_cost
from dazoo.ops.classwise import one_hot


@register
class OTClassReg(MovedByPlan):
    """OT mapping with an Lp-L1 class regulariser."""

    paper = Paper(
        title="Optimal Transport for Domain Adaptation",
        authors="Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1507.00504",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="the cost is divided by its largest entry; class masses are taken relative to the mass 1/n_t of a "
        "target sample, so that the regulariser does not fade as n_t grows (POT's sinkhorn_lpl1_mm is the case "
        "class_weight = eta sqrt(n_t), epsilon = n_t / 1000, and needs C copies of the plan)",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 1.5
    handles = Handles(marked={"none", "few"})
    pair_bytes = 72

    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    class_weight: float = hp(0.1, 1e-3, 1.0, log=True, help="weight of the class regulariser")
    epsilon: float = hp(1e-3, help="offset that keeps the slope of the regulariser finite, in masses of a target")
    rounds: int = hp(10, help="number of majorisation rounds")
    iterations: int = hp(1000, help="largest number of Sinkhorn iterations per round")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The plan of the last round."""
        cost = costs(seen, ctx)
        cost = cost / top_cost(cost)
        members = one_hot(source_of(seen).y, seen.n_classes).to(cost)
        plan, settled = class_plan(
            cost, members, self.reg, self.class_weight, self.epsilon, self.rounds, self.iterations
        )
        if not settled:
            ctx.warn(f"Sinkhorn stopped after {self.iterations} iterations before it converged; raise reg")
        return plan
