"""OT mapping of a part of the source. Caffarelli and McCann, 2010; Chapel, Alaya and Gasso, NeurIPS 2020.

Only the share of the mass that is cheapest to move is moved, the rest is left out of training:

    P = argmin_P <P, C>   over P >= 0, P 1 <= 1/n_s, P' 1 <= 1/n_t, 1' P 1 = share,   C_ij = ||x_s,i - x_t,j||^2
    z_s,i = sum_j P_ij x_t,j / sum_j P_ij for all i with sum_j P_ij > 0,      z_t = x_t

by POT, whose dummy points turn it into a balanced problem for the network simplex.

Evidence: tests/test_transport.py::test_partial_plan_is_the_linear_programmes_optimum (scipy.optimize.linprog),
test_partial_leaves_out_what_has_no_counterpart, test_partial_with_all_the_mass_is_emd.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Labeled, Predictor, Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, fit_classifier, labelled, pair, source_of
from dazoo.methods.transport._plan import EMD_ITERATIONS, MovedByPlan, back, exact_plan, marginals, posed, top_cost
from dazoo.shallow.steps import NearestShift, Pipeline


@register
class OTPartial(MovedByPlan):
    """OT mapping of a part of the source."""

    paper = Paper(
        title="Partial Optimal Transport with Applications on Positive-Unlabeled Learning",
        authors="Laetitia Chapel, Mokhtar Z. Alaya, Gilles Gasso", year=2020, url="https://arxiv.org/abs/2002.08276",
        venue="NeurIPS",
        deviations="the paper learns from positive and unlabelled samples; here, for domain adaptation, the moved "
        "source samples train the classifier, as in ot_emd, and source samples that send less than a thousandth of "
        "their mass do not take part; new source samples move as their nearest moved training sample did",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    share: float = hp(0.9, 0.5, 1.0, help="share of the mass that is moved", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Move a part of the source, then train ``ctx.classifier`` on that part."""
        xs, _ = pair(seen)
        images, mass = self.move(seen, ctx)
        kept = mass * len(xs) > 1e-3
        source = source_of(seen)
        part = replace(seen, source=Labeled(xs[kept], source.y[kept], source.domain[kept]))
        z, y = labelled(part, images[kept], lambda x: x.flatten(1).to(xs))
        # mean over parts: who sends in some of them counts for as much as it sends
        weights = mass[kept] if self.in_parts(seen) else None
        head = fit_classifier(part, ctx, z, y, weights)
        return Pipeline((), (NearestShift(xs[kept], images[kept] - xs[kept]),), head)

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The partial plan."""
        import ot

        if not 0.0 < self.share <= 1.0:
            raise DazooError(f"{self.name}.share must lie in (0, 1], not {self.share}")
        cost = costs(seen, ctx)
        if self.share > 1 - 1e-12:
            return exact_plan(cost, ctx)
        a, b = (posed(w, False) for w in marginals(cost))
        try:
            plan = ot.partial.partial_wasserstein(
                a, b, posed(cost / top_cost(cost), False), m=self.share, numItermax=EMD_ITERATIONS
            )
        except ValueError as error:
            raise DazooError(f"the partial transport problem was not solved: {error}; change share") from error
        return back(plan, cost)
