"""OT mapping with entropic regularisation. Courty, Flamary, Tuia and Rakotomamonjy, TPAMI 2017; Cuturi, NIPS 2013.

    P = argmin_P <P, C / max C> + reg sum_ij P_ij (log P_ij - 1)   over P 1 = 1/n_s, P' 1 = 1/n_t     (n_s, n_t)
    C_ij = ||x_s,i - x_t,j||^2,      z_s,i = n_s sum_j P_ij x_t,j,      z_t = x_t

Sinkhorn's algorithm for this is that of https://arxiv.org/abs/1306.0895. For many samples ``large="minibatch"`` solves
random parts (``_plan.MovedByPlan``), ``large="lazy"`` the whole problem without ever holding a matrix of all pairs:
POT's lazy Sinkhorn in the log domain, which recomputes the costs block by block and is slow.

Evidence: tests/test_shallow_transport.py::test_sinkhorn_plan_has_the_form_and_the_marginals_of_the_optimum,
test_sinkhorn_tends_to_emd, test_sinkhorn_is_finite_on_wide_features_and_says_when_it_stops_early;
tests/test_transport.py::test_sinkhorn_equals_pots_class, test_lazy_sinkhorn_is_sinkhorn,
test_plans_on_tensors_equal_plans_on_arrays.
"""

from __future__ import annotations

import warnings
from typing import ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import costs, pair
from dazoo.methods.transport._plan import MovedByPlan, barycentric, entropic_plan, posed
from dazoo.ops.linalg.linear import distances_between, rows_per_block


@register
class OTSinkhorn(MovedByPlan):
    """OT mapping with entropic regularisation."""

    paper = Paper(
        title="Optimal Transport for Domain Adaptation",
        authors="Nicolas Courty, Rémi Flamary, Devis Tuia, Alain Rakotomamonjy", year=2017,
        url="https://arxiv.org/abs/1507.00504",
        venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
        deviations="the cost is divided by its largest entry, so that reg does not depend on the scale of the "
        "features; a few far samples set it: on raw features reg then flattens the plan, and a warning says so; every "
        "sample is sent, so it loses where class proportions differ",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 2.0
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    ways: ClassVar[tuple[str, ...]] = ("auto", "error", "minibatch", "lazy", "dense")

    reg: float = hp(
        0.05, 0.005, 1.0, log=True, help="entropic regularisation, relative to the largest cost", positive=True
    )
    iterations: int = hp(1000, help="largest number of scaling iterations")

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The entropic plan."""
        return entropic_plan(costs(seen, ctx), self.reg, ctx, self.iterations)

    def move_large(self, seen: Seen, ctx: Context) -> tuple[Tensor, Tensor]:
        """By mini-batches, or without the matrix of all pairs."""
        if self.large != "lazy":
            return super().move_large(seen, ctx)
        import ot

        xs, xt = pair(seen)
        size = rows_per_block(len(xt))
        top = torch.stack([distances_between(x, xt).max() for x in xs.split(size)]).max()
        top = torch.where(top > 0, top, torch.ones_like(top))
        us, ut = xs / top.sqrt(), xt / top.sqrt()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            f, g = ot.bregman.empirical_sinkhorn(
                posed(us), posed(ut), self.reg, numIterMax=self.iterations, stopThr=1e-8, isLazy=True,
                batchSize=(rows_per_block(len(xt)), rows_per_block(len(xs))),
            )  # fmt: skip
        if any("converge" in str(w.message) for w in caught):
            ctx.warn(f"Sinkhorn stopped after {self.iterations} iterations before it converged")
        log_u, log_v = torch.as_tensor(f).to(xs), torch.as_tensor(g).to(xs)
        images, mass = [], []
        for u, x in zip(log_u.split(size), us.split(size)):
            block = torch.exp(u[:, None] + log_v - distances_between(x, ut) / self.reg)
            images.append(barycentric(block, xt))
            mass.append(block.sum(dim=1))
        return torch.cat(images), torch.cat(mass)
