"""WBT: Wasserstein barycenter transport. Montesuma and Ngolè Mboula, CVPR 2021.

Several sources are merged into their Wasserstein barycenter, class by class, which then moves to the target:

    B_c = argmin_B  sum_k (1/K) W_2^2(B, X_k,c)       B_c (m_c, d) with uniform weights, X_k,c the class c of source k
    z = m sum_j P_ij x_t,j,   P the entropic plan from all m = sum_c m_c points of B to the target, as in ot_sinkhorn

The fixed point B_c = mean_k m_c P_k X_k,c, P_k (m_c, n_k,c) the exact plan from B_c to X_k,c, is found by POT's
``free_support_barycenter``, from samples of class c drawn at random. The classifier learns from z with B's classes.

Evidence: tests/test_transport_sources.py::test_wbt_barycenter_is_a_fixed_point,
test_wbt_of_translated_sources_is_their_mean, test_wbt_moves_its_classes_onto_the_target.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import fit_classifier, pair, source_of
from dazoo.methods.transport._parts import PART, blocks_of, gib_of, sent
from dazoo.methods.transport._plan import PAIR_BYTES, back, barycentric, entropic_plan, exact_plan, note_uniform, posed
from dazoo.methods.transport._sources import rows_of_sources
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import NearestShift, Pipeline


@register
class WBT(ShallowMethod):
    """Wasserstein barycenter transport."""

    paper = Paper(
        title="Wasserstein Barycenter for Multi-Source Domain Adaptation",
        authors="Eduardo Fernandes\u00a0Montesuma, Fred Maurice Ngolè\u00a0Mboula", year=2021,
        url="https://openaccess.thecvf.com/content/CVPR2021/html/"
        "Montesuma_Wasserstein_Barycenter_for_Multi-Source_Domain_Adaptation_CVPR_2021_paper.html",
        venue="CVPR",
        deviations="one barycenter per class, the limit of the paper's infinite cost between different classes, which "
        "stays feasible where the sources' class proportions differ; exact plans instead of Sinkhorn's at reg = 1e-3 "
        "(which underflow); beyond memory_gib a barycenter is that of 1024 random samples of each source's class, and "
        "random parts are transported one by one (``transport/_parts``)",
    )  # fmt: skip
    growth = 1.5
    memory_growth = 2.0
    handles = Handles(n_sources="many")

    support: float = hp(
        1.0,
        0.25,
        1.0,
        help="points of a class's barycenter per source sample of the class",
        positive=True,
        most=float("inf"),
    )
    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation of the plan to the target, relative", positive=True
    )
    rounds: int = hp(100, help="largest number of fixed-point rounds per class")
    iterations: int = hp(1000, help="largest number of Sinkhorn iterations")
    memory_gib: float = hp(4.0, help="largest memory of a plan and its costs, in GiB", positive=True)

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Merge the sources, move them, then train ``ctx.classifier``."""
        xs, xt = pair(seen)
        points, labels = self.barycenter(seen, ctx)
        blocks = blocks_of(self.name, len(points), len(xt), self.memory_gib, PAIR_BYTES, ctx, [labels])
        plans = (
            entropic_plan(distances_between(points[b.rows], xt[b.cols]), self.reg, ctx, self.iterations) for b in blocks
        )
        zs = barycentric(next(plans), xt) if len(blocks) == 1 else sent(blocks, plans, xt, len(points))
        note_uniform(self.name, zs, xt, ctx)
        images, y = torch.empty_like(xs), source_of(seen).y
        for rows in rows_of_sources(seen):
            for c in torch.unique(y[rows]):
                whole = rows[y[rows] == c]
                for mine in whole.split(len(whole) if len(blocks) == 1 else PART):
                    plan = exact_plan(distances_between(xs[mine], points[labels == c]), ctx)
                    images[mine] = barycentric(plan, zs[labels == c])
        head = fit_classifier(seen, ctx, zs, labels)
        return Pipeline((), (NearestShift(xs, images - xs),), head)

    def barycenter(self, seen: Seen, ctx: Context) -> tuple[Tensor, Tensor]:
        """Points (m, d) of the barycenter and their classes (m,)."""
        import ot

        xs, y = pair(seen)[0], source_of(seen).y
        sources = rows_of_sources(seen)
        parts, labels = [], []
        many = gib_of(len(xs), len(pair(seen)[1]), PAIR_BYTES) > self.memory_gib
        for c in torch.unique(y):
            clouds = [xs[rows[y[rows] == c]] for rows in sources if bool((y[rows] == c).any())]
            if many:
                clouds = [x[torch.randperm(len(x), generator=ctx.gen)[:PART].to(x.device)] for x in clouds]
            pool = torch.cat(clouds)
            size = min(max(round(self.support * len(pool)), 1), PART if many else len(pool))
            middle = pool.mean(dim=0)
            spread = (pool - middle).square().sum(1).mean().sqrt()
            spread = torch.where(spread > 0, spread, torch.ones_like(spread))
            first = pool[torch.randperm(len(pool), generator=ctx.gen)[:size].to(pool.device)]
            units = [posed((x - middle) / spread, False) for x in clouds]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, log = ot.lp.free_support_barycenter(
                    units, [ot.unif(len(x)) for x in units], posed((first - middle) / spread, False),
                    numItermax=self.rounds, stopThr=1e-9, log=True,
                )  # fmt: skip
            if float(log["displacement_square_norms"][-1]) > 1e-9:
                ctx.warn(f"wbt: a barycenter stopped after {self.rounds} rounds before it settled")
            parts.append(back(found, xs) * spread + middle)
            labels.append(c.expand(size))
        return torch.cat(parts), torch.cat(labels)
