"""Transport plans between whole samples, by POT, and the base of methods that move the source along a plan."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.methods.steps import NearestShift

PLAN_LIMIT = 400_000_000
EMD_ITERATIONS = 5_000_000


def check_size(n_s: int, n_t: int) -> None:
    """Raise ``DazooError`` where an (n_s, n_t) plan would not fit."""
    if n_s * n_t > PLAN_LIMIT:
        raise DazooError(
            f"a transport plan of {n_s} x {n_t} samples is too large; draw a subsample, or use ot_linear, whose cost "
            "does not grow with the number of pairs"
        )


def uniform(n: int) -> np.ndarray[Any, Any]:
    """The uniform distribution on n points."""
    return np.full(n, 1.0 / n)


def scaled(cost: Tensor) -> np.ndarray[Any, Any]:
    """``cost`` (n_s, n_t) divided by its largest entry, as float64 numpy; a zero cost stays zero."""
    top = cost.max()
    if not bool(torch.isfinite(top)):
        raise NonFiniteError("the transport cost is not finite; check the features' scale")
    return np.ascontiguousarray((cost / torch.where(top > 0, top, torch.ones_like(top))).cpu().numpy())


def emd_plan(cost: Tensor, ctx: Context, a: Any = None, b: Any = None) -> Tensor:
    """The exact plan (n_s, n_t) between weights ``a`` and ``b`` (None: uniform) by the network simplex."""
    import ot

    check_size(*cost.shape)
    wa, wb = uniform(len(cost)) if a is None else a, uniform(cost.shape[1]) if b is None else b
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(wa, wb, scaled(cost), numItermax=EMD_ITERATIONS, log=True, check_marginals=False)
    if log["warning"] is not None:
        ctx.warn(f"the transport problem was not solved to the end: {log['warning']}")
    return torch.from_numpy(plan).to(cost)


def sinkhorn_plan(
    cost: Tensor, reg: float, ctx: Context, iterations: int = 1000, a: Any = None, b: Any = None
) -> Tensor:
    """The entropic plan (n_s, n_t) for ``cost`` divided by its largest entry.

    Scaling keeps exp(-cost / reg) above 1e-87 for reg >= 1/200, where plain matrix scaling is exact and fast; a smaller
    ``reg`` goes through the log domain.
    """
    import ot

    check_size(*cost.shape)
    wa, wb = uniform(len(cost)) if a is None else a, uniform(cost.shape[1]) if b is None else b
    solver = "sinkhorn" if reg >= 1 / 200 else "sinkhorn_log"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plan = ot.sinkhorn(wa, wb, scaled(cost), reg, method=solver, numItermax=iterations, stopThr=1e-8)
    if any("converge" in str(w.message) for w in caught):
        ctx.warn(f"Sinkhorn stopped after {iterations} iterations before it converged; raise reg or the iterations")
    if not np.isfinite(plan).all():
        raise NonFiniteError(f"the Sinkhorn plan is not finite at reg={reg}; raise reg")
    return torch.from_numpy(plan).to(cost)


def barycentric(plan: Tensor, xt: Tensor) -> Tensor:
    """sum_j P_ij x_t,j / sum_j P_ij (n_s, d); rows without mass give the mean of ``xt``."""
    mass = plan.sum(dim=1, keepdim=True)
    if plan.device.type == "cpu" and int((plan > 0).sum()) < 0.1 * plan.numel():
        from scipy.sparse import csr_array

        moved = torch.from_numpy(csr_array(plan.numpy()) @ xt.numpy())
    else:
        moved = plan @ xt
    return torch.where(mass > 0, moved / torch.where(mass > 0, mass, torch.ones_like(mass)), xt.mean(dim=0))


class MovedByPlan(FeatureMap):
    """A method that moves every source sample to the barycentre of where a plan sends its mass.

    The target stays as it is. New source samples move as their nearest training sample did.
    """

    def plan(self, seen: Seen, ctx: Context) -> Tensor:
        """The transport plan (n_s, n_t)."""
        raise NotImplementedError(f"{self.name} does not define plan")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Move the source."""
        xs, xt = pair(seen)
        zs = barycentric(self.plan(seen, ctx), xt)
        return Aligned(zs, (), (NearestShift(xs, zs - xs),))
