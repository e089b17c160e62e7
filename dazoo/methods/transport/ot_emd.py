"""OT mapping by exact transport (EMD). Courty, Flamary, Tuia and Rakotomamonjy, TPAMI 2017.

    P = argmin_P <P, C>   over P >= 0, P 1 = 1/n_s, P' 1 = 1/n_t,      C_ij = ||x_s,i - x_t,j||^2   (n_s, n_t)
    z_s,i = n_s sum_j P_ij x_t,j,      z_t = x_t

POT's network simplex solves the linear programme. For many samples ``large="minibatch"`` solves random parts of it
(``_plan.MovedByPlan``).

Evidence: tests/test_shallow_transport.py::test_emd_plan_is_the_linear_programmes_optimum (scipy.optimize.linprog),
test_emd_undoes_a_shift_by_a_gradient_of_a_convex_function; tests/test_transport.py::test_emd_equals_pots_class,
test_minibatches_move_towards_the_exact_images.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs
from dazoo.methods.transport._plan import MovedByPlan, exact_plan


@register
class OTEMD(MovedByPlan):
    """OT mapping by exact transport (EMD)."""

    paper = Paper(
        title="Optimal Transport for Domain Adaptation",
        authors="Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1507.00504",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 2.0
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The exact plan."""
        return ctx.memo("emd", lambda: exact_plan(costs(seen, ctx), ctx))
