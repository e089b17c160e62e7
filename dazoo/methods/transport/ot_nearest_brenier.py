"""SSNB: the nearest regular Brenier potential. Paty, d'Aspremont and Cuturi, AISTATS 2020.

The map is the gradient of a potential that is, on every region of the source, ``low``-strongly convex with a
``high``-Lipschitz gradient, and carries the source as near to the target as such a map can:

    min_{phi, G, P}  sum_ij P_ij ||g_i - x_t,j||^2        P 1 = 1/n_s, P' 1 = 1/n_t,   G (n_s, d),  phi (n_s,)
    over, for all i, j of one region,
    phi_i >= phi_j + <g_j, x_i - x_j> + (||g_i - g_j||^2 / L + l ||x_i - x_j||^2 - 2 (l/L) <g_j - g_i, x_j - x_i>)
                                        / (2 (1 - l/L)),          l = low, L = high
    z_s,i = g_i,      z_t = x_t

by turns: P by exact transport from G to the target, then G, which only needs the barycentres
z_i = n_s sum_j P_ij x_t,j. With h = g - l x and u = phi - l ||x||^2 / 2 the constraints become

    c_ij = u_j - u_i + <h_j, x_i - x_j> + ||h_i - h_j||^2 / (2 (L - l)) <= 0,   objective mean_i ||h_i + l x_i - z_i||^2

a convex problem per region, solved by the method of multipliers with L-BFGS in the span of the region's data (POT
hands it to cvxpy, a constraint object per pair). Regions are the cells of a tree: the source is halved along its first
principal direction, and so are the halves, until no cell holds more than ``size`` samples.

Evidence: tests/test_transport_brenier.py::test_region_solver_equals_a_generic_solver (SLSQP on POT's constraints),
test_in_one_dimension_it_is_regression_with_bounded_slopes (scipy.optimize.lsq_linear),
test_regular_maps_are_recovered, test_objective_never_rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.methods.transport._parts import blocks_of, sent
from dazoo.methods.transport._plan import PAIR_BYTES
from dazoo.methods.transport._simplex import Plans, plan_cost
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import NearestShift


@register
class OTNearestBrenier(FeatureMap):
    """The nearest regular Brenier potential."""

    paper = Paper(
        title="Regularity as Regularization: Smooth and Strongly Convex Brenier Potentials in Optimal Transport",
        authors="François-Pierre Paty, Alexandre d'Aspremont, Marco Cuturi", year=2020,
        url="https://arxiv.org/abs/1905.10812", venue="AISTATS",
        deviations="regions of even size rather than k-means clusters, whose largest one would decide the cost; new "
        "samples move as their nearest training sample did, not by an optimisation problem per sample; constraints "
        "hold to tolerance of the region's squared radius; beyond memory_gib the plan is one of random parts, cut once "
        "(``transport/_parts``)",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    growth = 2.0
    memory_growth = 2.0

    low: float = hp(0.6, 0.05, 0.9, help="strong convexity of the potential in a region")
    high: float = hp(1.4, 1.0, 5.0, log=True, help="Lipschitz constant of its gradient in a region")
    size: int = hp(32, 8, 64, log=True, help="largest number of source samples per region")
    rounds: int = hp(5, help="largest number of alternations of plan and potential")
    tolerance: float = hp(1e-3, help="largest violation of a constraint, relative to a region's squared radius")
    memory_gib: float = hp(4.0, help="largest memory of the plan and its costs, in GiB", positive=True)

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The images of the source samples."""
        xs, _ = pair(seen)
        zs = self.images(seen, ctx)[0]
        return Aligned(zs, (), (NearestShift(xs, zs - xs),))

    def images(self, seen: Seen, ctx: Context) -> tuple[Tensor, list[float]]:
        """Images (n_s, d), and the objective after every round."""
        if not 0 <= self.low < self.high:
            raise DazooError(f"ot_nearest_brenier needs 0 <= low < high, not {self.low:g} and {self.high:g}")
        xs, xt = pair(seen)
        blocks = blocks_of(self.name, len(xs), len(xt), self.memory_gib, PAIR_BYTES, ctx)
        regions = [
            Region(xs[r].cpu().numpy(), r, self.low, self.high, self.tolerance) for r in regions_of(xs, self.size)
        ]
        images, last, values = xs, None, []
        solvers = [Plans(ctx) for _ in blocks]
        moved = [distances_between(xs[b.rows], xt[b.cols]).cpu().numpy() for b in blocks]
        for _ in range(max(self.rounds, 1)):
            plans = [solve(cost) for solve, cost in zip(solvers, moved)]
            if last is not None and all(map(_same, plans, last)):
                break
            last = plans
            towards = sent(blocks, (torch.from_numpy(p.toarray()).to(xs) for p in plans), xt, len(xs))
            images = torch.empty_like(xs)
            for region in regions:
                images[region.rows] = torch.from_numpy(region.solve(towards[region.rows].cpu().numpy())).to(xs)
            moved = [distances_between(images[b.rows], xt[b.cols]).cpu().numpy() for b in blocks]
            values.append(sum(map(plan_cost, plans, moved)) / len(blocks))
        else:
            ctx.warn(f"ot_nearest_brenier stopped after {self.rounds} rounds before the plan settled")
        worst = max(region.violation for region in regions)
        if worst > self.tolerance:
            ctx.warn(f"ot_nearest_brenier: the regularity of the potential holds only to {worst:.1e}")
        return images, values


@dataclass
class Region:
    """The samples ``x`` (m, d) of one region with their ``rows``, and its last solution to start from."""

    x: np.ndarray
    rows: Tensor
    low: float
    high: float
    tolerance: float = 1e-3
    violation: float = 0.0

    def __post_init__(self) -> None:
        m = len(self.x)
        self.middle = self.x.mean(axis=0)
        radius = float(np.sqrt(np.mean(np.sum((self.x - self.middle) ** 2, axis=1))))
        self.radius = radius if radius > 0 else 1.0
        self.multipliers = np.zeros((m, m))
        self.u = np.zeros(m)
        self.h: np.ndarray | None = None

    def solve(self, towards: np.ndarray) -> np.ndarray:
        """Images (m, d) nearest to ``towards`` (m, d)."""
        if len(self.x) == 1:
            return towards
        offset = towards.mean(axis=0)
        x, z = (self.x - self.middle) / self.radius, (towards - offset) / self.radius
        # the constraints are blind to a common shift and to directions that neither x nor z has
        basis = np.eye(x.shape[1])
        if 2 * len(x) < x.shape[1]:
            basis = np.linalg.qr(np.concatenate([x, z]).T)[0].T
        xb, wb = x @ basis.T, z @ basis.T - self.low * (x @ basis.T)
        h, self.u, self.multipliers, self.violation = nearest_smooth_gradients(
            xb,
            wb,
            self.high - self.low,
            wb if self.h is None else self.h @ basis.T,
            self.u,
            self.multipliers,
            self.tolerance,
        )
        self.h = h @ basis
        images = (h + self.low * xb) @ basis
        return offset + self.radius * images


def nearest_smooth_gradients(
    x: np.ndarray,
    w: np.ndarray,
    bound: float,
    h: np.ndarray,
    u: np.ndarray,
    multipliers: np.ndarray,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Gradients h (m, r) nearest to ``w`` of a convex function with ``bound``-Lipschitz gradient at ``x`` (m, r).

        min_{h, u}  mean_i ||h_i - w_i||^2
        over c_ij = u_j - u_i + <h_j, x_i - x_j> + ||h_i - h_j||^2 / (2 bound) <= 0

    ``h`` (m, r), the function's values ``u`` (m,) and the ``multipliers`` (m, m) are where to start from. Returns them,
    and the largest violation.
    """
    from scipy.optimize import minimize

    m, r = x.shape

    def constraints(h: np.ndarray, u: np.ndarray) -> np.ndarray:
        across, own = x @ h.T, h @ h.T
        squares = own.diagonal() / (2 * bound)
        c: np.ndarray = across - own / bound
        c += u + squares - across.diagonal()
        c += (squares - u)[:, None]
        np.fill_diagonal(c, 0.0)
        return c

    def lagrangian(flat: np.ndarray, held: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
        h, u = flat[: m * r].reshape(m, r), flat[m * r :]
        push = np.maximum(held + weight * constraints(h, u), 0.0)
        np.fill_diagonal(push, 0.0)
        sent, taken, gap = push.sum(axis=1), push.sum(axis=0), h - w
        flow = push.T.copy()
        both = (push + flow) / -bound
        np.fill_diagonal(both, (sent + taken) / bound)
        np.fill_diagonal(flow, -taken)
        slope = np.empty_like(flat)
        slope[: m * r] = (both @ h + flow @ x + 2 / m * gap).ravel()
        slope[m * r :] = taken - sent
        return float(np.vdot(gap, gap) / m + np.vdot(push, push) / (2 * weight)), slope

    weight, worst = 10.0 / m, np.inf
    flat = np.concatenate([h.ravel(), u])
    for _ in range(300):
        # a few steps between updates of the multipliers: a light weight is well conditioned
        found = minimize(
            lagrangian, flat, (multipliers, weight), method="L-BFGS-B", jac=True,
            options={"maxiter": 15, "maxcor": 10, "ftol": 1e-3 * tolerance, "gtol": 1e-1 * tolerance / m},
        )  # fmt: skip
        flat = found.x
        c = constraints(flat[: m * r].reshape(m, r), flat[m * r :])
        multipliers = np.maximum(multipliers + weight * c, 0.0)
        before, worst = worst, float(c.max())
        if worst <= tolerance:
            break
        if worst > 0.5 * before:
            weight *= 2.0
    return flat[: m * r].reshape(m, r), flat[m * r :], multipliers, worst


def _same(plan: Any, other: Any) -> bool:
    return bool(abs(plan - other).max() < 1e-12)


def regions_of(x: Tensor, size: int) -> list[Tensor]:
    """Rows of the cells of ``x`` (n, d), each of at most ``size`` samples, halved along first principal directions."""
    waiting, cells = [torch.arange(len(x), device=x.device)], []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= max(size, 2):
            cells.append(rows)
            continue
        centred = x[rows] - x[rows].mean(dim=0)
        direction = centred[centred.square().sum(dim=1).argmax()]
        for _ in range(10):
            direction = centred.T @ (centred @ direction)
            direction = direction / direction.norm().clamp(min=1e-300)
        order = (centred @ direction).argsort(stable=True)
        waiting += [rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]]
    return cells
