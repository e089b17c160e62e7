"""Ways of before that ``benchmarks.ratios`` holds those of now against, as they were but for names and checks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import ot
import torch
from scipy.optimize import minimize
from torch import Tensor

from dazoo.methods.base import Context
from dazoo.methods.shallow import costs, pair
from dazoo.methods.transport._plan import EMD_ITERATIONS, back, barycentric, exact_plan, marginals, posed, top_cost
from dazoo.methods.transport.ot_laplace import laplacian
from dazoo.methods.transport.ot_nearest_brenier import Region, regions_of
from dazoo.ops.linalg.linear import distances_between

PLACE = "dazoo.methods.transport."
Array = np.ndarray


def mapping(self: Any, us: Tensor, ut: Tensor, gamma: Tensor, ctx: Context) -> tuple[Tensor, bool]:
    """``OTMapping.joint`` by POT."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, found, log = ot.mapping.joint_OT_mapping_linear(
            posed(us), posed(ut), mu=self.mu, eta=self.eta, numItermax=self.rounds, numInnerItermax=10, stopThr=1e-5,
            stopInnerThr=1e-6, log=True,
        )  # fmt: skip
    return back(found, us), len(log["loss"]) <= self.rounds


def laplace(self: Any, seen: Any, ctx: Context) -> Tensor:
    """``OTLaplace.plan`` by POT, with dense plans and a plan among all pairs in every round."""
    xs, xt = pair(seen)
    cost = costs(seen, ctx)
    top = top_cost(cost)
    us, ut, cost = xs / top.sqrt(), xt / top.sqrt(), cost / top
    (graph_s, degree_s), (graph_t, degree_t) = (laplacian(x.numpy(), self.neighbours) for x in (us, ut))
    weight_s = 2 * self.lap_weight * self.source_share * len(us) / degree_s
    weight_t = 2 * self.lap_weight * (1 - self.source_share) * len(ut) / degree_t
    gram_s, gram_t = us @ us.T, ut @ ut.T

    def slope(p: Tensor) -> Tensor:
        moved_s, moved_t = p.to_sparse_csr() @ gram_t, p.T.to_sparse_csr() @ gram_s
        first, second = graph_s @ moved_s.numpy(), (graph_t @ moved_t.numpy()).T
        return torch.from_numpy(2 * weight_s * first + 2 * weight_t * second)

    def energy(p: Tensor) -> Tensor:
        return (p * slope(p)).sum() / 2

    def search(_: Any, p: Tensor, step: Tensor, gradient: Tensor, value: Any, at: Tensor, **__: Any) -> Any:
        turn = slope(p + step) - at
        curve, fall = float((step * turn).sum()) / 2, float((gradient * step).sum())
        alpha = 1.0 if curve <= 0 else min(max(-fall / (2 * curve), 0.0), 1.0)
        return alpha, 1, value + alpha * fall + alpha**2 * curve, at + alpha * turn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = ot.optim.cg(
            *marginals(cost), cost, 1.0, energy, slope, G0=exact_plan(cost, ctx), line_search=search,
            numItermax=self.rounds, numItermaxEmd=EMD_ITERATIONS, stopThr=self.tolerance, stopThr2=0.0,
        )  # fmt: skip
    return back(plan, cost)


def brenier(self: Any, seen: Any, ctx: Context) -> tuple[Tensor, list[float]]:
    """``OTNearestBrenier.images`` with a plan among all pairs in every round."""
    xs, xt = pair(seen)
    regions = [Region(xs[r].numpy(), r, self.low, self.high, self.tolerance) for r in regions_of(xs, self.size)]
    images, last, values = xs, None, []
    for _ in range(self.rounds):
        plan = exact_plan(distances_between(images, xt), ctx)
        if last is not None and torch.equal(plan, last):
            break
        last, towards, images = plan, barycentric(plan, xt), torch.empty_like(xs)
        for region in regions:
            images[region.rows] = torch.from_numpy(_solved(region, towards[region.rows].numpy()))
        values.append(float((plan * distances_between(images, xt)).sum()))
    return images, values


def _solved(region: Any, towards: Array) -> Array:
    """``Region.solve`` with a singular value decomposition and few, long descents under a heavy weight."""
    offset = towards.mean(axis=0)
    x, z = (region.x - region.middle) / region.radius, (towards - offset) / region.radius
    _, values, basis = np.linalg.svd(np.concatenate([x, z]), full_matrices=False)
    basis = basis[values > 1e-12 * max(values[0], 1e-300)]
    xb, wb = x @ basis.T, z @ basis.T - region.low * (x @ basis.T)
    h, region.u, region.multipliers = _gradients(
        xb, wb, region.high - region.low, wb if region.h is None else region.h @ basis.T, region.u,
        region.multipliers, region.tolerance,
    )  # fmt: skip
    region.h = h @ basis
    return offset + region.radius * ((h + region.low * xb) @ basis)


def _gradients(
    x: Array, w: Array, bound: float, h: Array, u: Array, multipliers: Array, tolerance: float
) -> tuple[Array, Array, Array]:
    m, r = x.shape

    def constraints(h: Array, u: Array) -> Array:
        squares = np.sum(h**2, axis=1)
        gaps = squares[:, None] + squares - 2 * h @ h.T
        c: Array = u - u[:, None] + x @ h.T - np.sum(x * h, axis=1) + gaps / (2 * bound)
        np.fill_diagonal(c, 0.0)
        return c

    def lagrangian(flat: Array, held: Array, weight: float) -> tuple[float, Array]:
        h, u = flat[: m * r].reshape(m, r), flat[m * r :]
        push = np.maximum(held + weight * constraints(h, u), 0.0)
        np.fill_diagonal(push, 0.0)
        both = push + push.T
        grad_h = 2 * (h - w) / m + push.T @ x - push.sum(axis=0)[:, None] * x
        grad_h += (both.sum(axis=1)[:, None] * h - both @ h) / bound
        value = np.sum((h - w) ** 2) / m + np.sum(push**2) / (2 * weight)
        return float(value), np.concatenate([grad_h.ravel(), push.sum(axis=0) - push.sum(axis=1)])

    weight, worst = 1000.0 / m, np.inf
    flat = np.concatenate([h.ravel(), u])
    for _ in range(25):
        found = minimize(
            lagrangian, flat, (multipliers, weight), method="L-BFGS-B", jac=True,
            options={"maxiter": 200, "maxcor": 20, "ftol": 1e-6 * tolerance, "gtol": 1e-2 * tolerance / m},
        )  # fmt: skip
        flat = found.x
        c = constraints(flat[: m * r].reshape(m, r), flat[m * r :])
        multipliers = np.maximum(multipliers + weight * c, 0.0)
        before, worst = worst, float(c.max())
        if worst <= tolerance:
            break
        if worst > 0.5 * before:
            weight *= 4.0
    return flat[: m * r].reshape(m, r), flat[m * r :], multipliers


FEATURES = {
    "ot_mapping": (PLACE + "ot_mapping.OTMapping.joint", mapping),
    "ot_laplace": (PLACE + "ot_laplace.OTLaplace.plan", laplace),
    "ot_nearest_brenier": (PLACE + "ot_nearest_brenier.OTNearestBrenier.images", brenier),
}
