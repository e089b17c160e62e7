"""OT mapping with an L1-L2 class regulariser (group lasso). Courty et al., TPAMI 2017; Rakotomamonjy et al., 2015.

Every target sample should receive mass from source samples of few classes:

    min_P  <P, C / max C> + reg sum_ij P_ij log P_ij + class_weight Omega(P)      over P 1 = 1/n_s, P' 1 = 1/n_t
    Omega(P) = sum_j sum_c ( sum_{i: y_i = c} P_ij^2 )^(1/2)
    z_s,i = n_s sum_j P_ij x_t,j,      z_t = x_t

by POT's generalised conditional gradient: the direction is the entropic plan for the cost
C / max C + class_weight grad Omega(P), the step an Armijo search on the whole objective.

The generalised conditional gradient is that of https://arxiv.org/abs/1510.06567.

Evidence: tests/test_transport_regularised.py::test_group_lasso_meets_its_optimality_conditions,
test_group_lasso_is_at_least_as_good_as_pots_class, test_class_regularisers_unmix_the_classes.
"""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, source_of
from dazoo.methods.transport._plan import MovedByPlan, back, entropic, marginals, top_cost
from dazoo.ops.classwise import one_hot

TINY = 1e-300


@register
class OTGroupLasso(MovedByPlan):
    """OT mapping with an L1-L2 class regulariser (group lasso)."""

    paper = Paper(
        title="Optimal Transport for Domain Adaptation",
        authors="Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1507.00504",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="the cost is divided by its largest entry; the step is searched on the objective with its entropy "
        "(POT's gcg leaves the entropy out of it), and group norms are sums over classes rather than C copies of the "
        "plan",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 2.0
    handles = Handles(marked={"none", "few"})
    pair_bytes = 120

    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    class_weight: float = hp(0.1, 1e-3, 10.0, log=True, help="weight of the group lasso")
    rounds: int = hp(30, help="largest number of conditional-gradient rounds")
    iterations: int = hp(1000, help="largest number of Sinkhorn iterations per round")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The plan by generalised conditional gradient."""
        import ot

        cost = costs(seen, ctx)
        cost = cost / top_cost(cost)
        members = one_hot(source_of(seen).y, seen.n_classes).to(cost)
        start, settled, inner = None, True, [cost]

        def slope(p: Tensor) -> Tensor:
            norms = (members.T @ p.square()).sqrt()
            return p / (members @ norms).clamp(min=TINY)

        def penalty(p: Tensor) -> Tensor:
            p = p.clamp(min=TINY)
            return self.reg * (p * p.log()).sum() + self.class_weight * (members.T @ p.square()).sqrt().sum()

        def gradient(p: Tensor) -> Tensor:
            penalty_slope = self.class_weight * slope(p)
            # the cost of the next direction: the entropy's own gradient stays in the inner problem
            inner[0] = cost + penalty_slope
            return self.reg * (1 + p.clamp(min=TINY).log()) + penalty_slope

        def direction(a: Tensor, b: Tensor, linear: Tensor, **_: Any) -> tuple[Tensor, dict[str, Any]]:
            nonlocal start, settled
            plan, start, settled = entropic(inner[0], self.reg, self.iterations, a, b, start=start)
            return plan, {}

        def search(value: Any, p: Tensor, step: Tensor, linear: Tensor, at: Any, _: Any, **__: Any) -> Any:
            return ot.optim.line_search_armijo(value, p, step, linear, at, alpha_min=0.0, alpha_max=1.0)

        first, start, _ = entropic(cost, self.reg, self.iterations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plan, log = ot.optim.generic_conditional_gradient(
                *marginals(cost), cost, penalty, gradient, 1.0, None, direction, search, G0=first,
                numItermax=self.rounds, stopThr=1e-9, stopThr2=1e-11, log=True,
            )  # fmt: skip
        if not settled:
            ctx.warn(f"Sinkhorn stopped after {self.iterations} iterations before it converged; raise reg")
        if len(log["loss"]) > self.rounds and self.rounds > 0:
            ctx.warn(f"ot_group_lasso stopped after {self.rounds} rounds before the objective settled")
        return back(plan, cost)
