"""What tests of transport plans share: POT's classes on the samples of a task, and what plans must meet."""

from __future__ import annotations

import numpy as np
import ot
import torch

from dazoo.core.types import Seen
from dazoo.ops.linalg.linear import distances_between
from tests.test_subspace import arrays


def scaled_cost(seen: Seen) -> torch.Tensor:
    cost = distances_between(seen.source.x, seen.target.x)
    return cost / cost.max()


def pots(cls, seen: Seen, **options):
    """A transport class of POT, fitted with the cost divided by its largest entry."""
    xs, xt, ys = arrays(seen)
    if cls is not ot.da.EMDLaplaceTransport:
        options["norm"] = "max"
    return cls(**options).fit(Xs=xs, ys=ys, Xt=xt)


def marginals_hold(plan: torch.Tensor, atol: float = 1e-7) -> bool:
    n, m = plan.shape
    return np.allclose(plan.sum(1), 1 / n, rtol=0, atol=atol) and np.allclose(plan.sum(0), 1 / m, rtol=0, atol=atol)


def additive(a: torch.Tensor) -> float:
    """How far ``a`` (n, m) is from the form u_i + v_j."""
    return float((a - a.mean(0) - a.mean(1, keepdim=True) + a.mean()).abs().max())
