"""OT mapping with relaxed marginals. Chizat, Peyré, Schmitzer and Vialard, Mathematics of Computation 2018.

Samples without a counterpart need not be matched:

    P = argmin_P <P, C / max C> + reg KL(P | a b') + mass (KL(P 1 | a) + KL(P' 1 | b))      (n_s, n_t)
    a_i = 1/n_s,   b_j = 1/n_t,   KL(p | q) = sum p log(p / q) - p + q,   C_ij = ||x_s,i - x_t,j||^2
    z_s,i = sum_j P_ij x_t,j / sum_j P_ij,      z_t = x_t

by POT's translation-invariant scaling. As ``mass`` grows the plan becomes that of ot_sinkhorn.

As domain adaptation it is in POT and in Fatras et al., https://arxiv.org/abs/2103.03606.

Evidence: tests/test_transport_regularised.py::test_unbalanced_equals_pots_class,
test_unbalanced_meets_its_optimality_conditions, test_unbalanced_tends_to_sinkhorn.
"""

from __future__ import annotations

import warnings

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs
from dazoo.methods.transport._plan import MovedByPlan, back, marginals, posed, top_cost


@register
class OTUnbalanced(MovedByPlan):
    """OT mapping with relaxed marginals."""

    paper = Paper(
        title="Scaling algorithms for unbalanced optimal transport problems",
        authors="Lénaïc Chizat, Gabriel Peyré, Bernhard Schmitzer, François-Xavier Vialard", year=2018,
        url="https://arxiv.org/abs/1607.05816", venue="Mathematics of Computation (Journal)",
        deviations="the cost is divided by its largest entry, so that reg and mass do not depend on the scale of the "
        "features",
    )  # fmt: skip
    growth = 2.5
    memory_growth = 2.0
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    mass: float = hp(
        1.0, 1e-2, 1e2, log=True, help="weight of the divergences of the marginals, likewise", positive=True
    )
    iterations: int = hp(1000, help="largest number of scaling iterations")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The unbalanced plan."""
        import ot

        cost = costs(seen, ctx)
        a, b = marginals(cost)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            plan, log = ot.unbalanced.sinkhorn_unbalanced(
                posed(a), posed(b), posed(cost / top_cost(cost)), self.reg, self.mass, reg_type="kl", log=True,
                method="sinkhorn_translation_invariant", numItermax=self.iterations, stopThr=1e-9,
            )  # fmt: skip
        if any("Numerical" in str(w.message) for w in caught):
            ctx.warn("unbalanced transport reached the limits of double precision; raise reg")
        elif float(log["err"][-1]) >= 1e-9:
            ctx.warn(f"unbalanced transport stopped after {self.iterations} iterations before it converged")
        return back(plan, cost)
