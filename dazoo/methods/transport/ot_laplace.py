"""OT mapping with a Laplacian regulariser. Flamary, Courty, Rakotomamonjy and Tuia, OTML workshop at NIPS 2014.

Neighbours should stay neighbours: exact transport plus the mean squared distance of the images of k-nearest neighbours,

    min_P  <P, C> + lap_weight ( source_share E_s(P) + (1 - source_share) E_t(P) )     over P 1 = 1/n_s, P' 1 = 1/n_t
    E_s(P) = sum_ij S_ij ||z_i - z_j||^2 / sum_ij S_ij,   z = n_s P X_t  (n_s, d),   S = (A + A') / 2 (n_s, n_s)
    E_t likewise for the target samples' images n_t P' X_s
    A_ij = 1 where x_s,j is one of the k nearest neighbours of x_s,i,   C_ij = ||x_s,i - x_t,j||^2

with all features divided by (max C)^(1/2); for ``keep="displacement"`` z_i - x_s,i takes the place of z_i. The
objective is quadratic and convex; conditional gradients solve it, with exact steps.

Section 4.4 of the paper.

Evidence: tests/test_transport_regularised.py::test_laplace_equals_pots_class, test_laplace_without_weight_is_emd,
test_laplace_keeps_neighbours_together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, pair
from dazoo.methods.transport._plan import MovedByPlan, back, exact_plan, note_gap, top_cost
from dazoo.methods.transport._simplex import Plans, conditional_gradient


@register
class OTLaplace(MovedByPlan):
    """OT mapping with a Laplacian regulariser."""

    paper = Paper(
        title="Optimal Transport for Domain Adaptation",
        authors="Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1507.00504",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="energies are means over neighbours of features scaled by the largest cost, so that lap_weight "
        "depends neither on scale nor on the number of samples (POT's emd_laplace is the case eta alpha = lap_weight "
        "source_share 2 n_s / k, eta (1 - alpha) = lap_weight (1 - source_share) 2 n_t / k)",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    pair_bytes = 120
    growth = 2.0

    lap_weight: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the Laplacian regulariser")
    source_share: float = hp(0.5, 0.0, 1.0, help="share of the source's energy in the regulariser")
    neighbours: int = hp(3, 1, 10, help="number of neighbours in the graphs")
    keep: str = hp(
        "position", choices=("position", "displacement"), help="what neighbours should share: image or shift"
    )
    rounds: int = hp(100, help="largest number of conditional-gradient rounds")
    tolerance: float = hp(1e-4, help="relative change of the objective at which the rounds end")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The regularised plan."""
        xs, xt = pair(seen)
        cost = costs(seen, ctx)
        top = top_cost(cost)
        us, ut = ((x / top.sqrt()).cpu().numpy() for x in (xs, xt))
        price = (cost / top).cpu().numpy()
        (graph_s, degree_s), (graph_t, degree_t) = laplacian(us, self.neighbours), laplacian(ut, self.neighbours)
        weight_s = 2 * self.lap_weight * self.source_share * len(us) / degree_s
        weight_t = 2 * self.lap_weight * (1 - self.source_share) * len(ut) / degree_t
        if self.keep == "displacement":
            price -= 2 * weight_s / len(us) * (graph_s @ us) @ ut.T + 2 * weight_t / len(ut) * us @ (graph_t @ ut).T
        gram_s, gram_t = us @ us.T, ut @ ut.T

        def slope(p: Any) -> np.ndarray:
            out: np.ndarray = (2 * weight_s * (graph_s @ p)) @ gram_t
            out += ((2 * weight_t * (graph_t @ p.T)) @ gram_s).T
            return out

        first = csr_array(ctx.memo("emd", lambda: exact_plan(cost, ctx)).cpu().numpy())
        found = conditional_gradient(price, slope, first, Plans(ctx), self.rounds, self.tolerance)
        if len(found.values) > self.rounds > 0:
            ctx.warn(f"ot_laplace stopped after {self.rounds} rounds before the objective settled")
        note_gap("ot_laplace", found.gap, found.values[-1], ctx)
        return back(found.plan.toarray(), cost)


def laplacian(x: np.ndarray, k: int) -> tuple[Any, float]:
    """D - S (n, n) of the symmetrised graph S of ``k`` nearest neighbours, sparse, and the mean of D's diagonal."""
    from sklearn.neighbors import kneighbors_graph

    graph = csr_array(kneighbors_graph(x, n_neighbors=max(min(k, len(x) - 1), 1)))
    graph = (graph + graph.T) / 2
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    return csr_array(diags_array(degrees) - graph), float(degrees.mean())
