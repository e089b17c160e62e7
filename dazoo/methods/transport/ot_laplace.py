"""OT mapping with a Laplacian regulariser. Flamary, Courty, Rakotomamonjy and Tuia, OTML workshop at NIPS 2014.

Neighbours should stay neighbours: exact transport plus the mean squared distance of the images of k-nearest neighbours,

    min_P  <P, C> + lap_weight ( source_share E_s(P) + (1 - source_share) E_t(P) )     over P 1 = 1/n_s, P' 1 = 1/n_t
    E_s(P) = sum_ij S_ij ||z_i - z_j||^2 / sum_ij S_ij,   z = n_s P X_t  (n_s, d),   S = (A + A') / 2 (n_s, n_s)
    E_t likewise for the target samples' images n_t P' X_s
    A_ij = 1 where x_s,j is one of the k nearest neighbours of x_s,i,   C_ij = ||x_s,i - x_t,j||^2

with all features divided by (max C)^(1/2); for ``keep="displacement"`` z_i - x_s,i takes the place of z_i. The
objective is quadratic and convex; POT's conditional gradient solves it, with exact steps.

Section 4.4 of the paper.

Evidence: tests/test_transport_regularised.py::test_laplace_equals_pots_class, test_laplace_without_weight_is_emd,
test_laplace_keeps_neighbours_together.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, pair
from dazoo.methods.transport._plan import EMD_ITERATIONS, MovedByPlan, back, exact_plan, marginals, note_gap, top_cost
from dazoo.ops.linalg.blas import product


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
        import ot

        xs, xt = pair(seen)
        cost = costs(seen, ctx)
        top = top_cost(cost)
        us, ut, cost = xs / top.sqrt(), xt / top.sqrt(), cost / top
        graph_s, graph_t = _laplacian(us, self.neighbours), _laplacian(ut, self.neighbours)
        weight_s = 2 * self.lap_weight * self.source_share * len(us) / graph_s.degrees
        weight_t = 2 * self.lap_weight * (1 - self.source_share) * len(ut) / graph_t.degrees
        if self.keep == "displacement":
            cost = cost - 2 * weight_s / len(us) * graph_s(us) @ ut.T - 2 * weight_t / len(ut) * us @ graph_t(ut).T

        gram_s, gram_t = product(us, us.T), product(ut, ut.T)

        def slope(p: Tensor) -> Tensor:
            # plans have few entries that are not 0, vertices of their polytope at most n_s + n_t - 1
            moved_s, moved_t = p.to_sparse_csr() @ gram_t, p.T.to_sparse_csr() @ gram_s
            return 2 * weight_s * graph_s(moved_s) + 2 * weight_t * graph_t(moved_t).T

        def energy(p: Tensor) -> Tensor:
            return (p * slope(p)).sum() / 2

        gap = 0.0

        def search(_: Any, p: Tensor, step: Tensor, gradient: Tensor, value: Any, at: Tensor, **__: Any) -> Any:
            nonlocal gap
            gap = -float((gradient * step).sum())
            turn = slope(p + step) - at  # slope is linear, and at = slope(p)
            curve, fall = float((step * turn).sum()) / 2, float((gradient * step).sum())
            alpha = 1.0 if curve <= 0 else min(max(-fall / (2 * curve), 0.0), 1.0)
            return alpha, 1, value + alpha * fall + alpha**2 * curve, at + alpha * turn

        a, b = marginals(cost)
        first = ctx.memo("emd", lambda: exact_plan(costs(seen, ctx), ctx))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plan, log = ot.optim.cg(
                a, b, cost, 1.0, energy, slope, G0=first, line_search=search, numItermax=self.rounds,
                numItermaxEmd=EMD_ITERATIONS, stopThr=self.tolerance, stopThr2=0.0, log=True,
            )  # fmt: skip
        if len(log["loss"]) > self.rounds > 0:
            ctx.warn(f"ot_laplace stopped after {self.rounds} rounds before the objective settled")
        note_gap("ot_laplace", gap, float(log["loss"][-1]), ctx)
        return back(plan, cost)


class _Laplacian:
    """z -> (D - S) z for a sparse symmetric S; ``degrees`` is the mean of D's diagonal."""

    def __init__(self, similarity: Tensor):
        self.similarity = similarity
        ones = torch.ones(len(similarity), 1, dtype=similarity.dtype, device=similarity.device)
        self.diagonal = torch.sparse.mm(similarity, ones)
        self.degrees = float(self.diagonal.mean())

    def __call__(self, z: Tensor) -> Tensor:
        return self.diagonal * z - torch.sparse.mm(self.similarity, z)


def _laplacian(x: Tensor, k: int) -> _Laplacian:
    """The Laplacian of the symmetrised graph of ``k`` nearest neighbours."""
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(x.cpu().numpy(), n_neighbors=max(min(k, len(x) - 1), 1))
    graph = ((graph + graph.T) / 2).tocoo()
    index = torch.stack([torch.from_numpy(graph.row).long(), torch.from_numpy(graph.col).long()])
    values = torch.from_numpy(graph.data)
    return _Laplacian(torch.sparse_coo_tensor(index, values, graph.shape, check_invariants=True).coalesce().to(x))
