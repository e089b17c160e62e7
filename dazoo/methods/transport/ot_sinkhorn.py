"""OT mapping with entropic regularisation. Courty, Flamary, Tuia and Rakotomamonjy, TPAMI 2017; Cuturi, NIPS 2013.

    P = argmin_P <P, C / max C> + reg sum_ij P_ij (log P_ij - 1)   over P 1 = 1/n_s, P' 1 = 1/n_t     (n_s, n_t)
    C_ij = ||x_s,i - x_t,j||^2,      z_s,i = n_s sum_j P_ij x_t,j,      z_t = x_t

Source: https://arxiv.org/abs/1507.00504, https://arxiv.org/abs/1306.0895. Deviations: the cost is divided by its
largest entry, so that ``reg`` does not depend on the scale of the features.

Evidence: tests/test_shallow_transport.py::test_sinkhorn_plan_has_the_form_and_the_marginals_of_the_optimum,
test_sinkhorn_tends_to_emd, test_sinkhorn_is_finite_on_wide_features.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs
from dazoo.methods.transport._plan import MovedByPlan, sinkhorn_plan


@register
class OtSinkhorn(MovedByPlan):
    """See the module's docstring."""

    paper = Paper(
        "Optimal Transport for Domain Adaptation",
        "Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy",
        2017,
        "https://arxiv.org/abs/1507.00504",
        "IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        "cost divided by its largest entry",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    targets = frozenset({"classes", "values"})
    reg: float = hp(0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost")
    iterations: int = hp(1000, help="largest number of scaling iterations")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The entropic plan."""
        return sinkhorn_plan(costs(seen, ctx), self.reg, ctx, self.iterations)
