"""Exact plans for a run of costs between uniform weights, and quadratic objectives by conditional gradients.

A vertex of the polytope has at most n_s + n_t - 1 entries, so plans are sparse, and from the second cost on most pairs
can be left out of the network simplex: those whose reduced cost C_ij - u_i - v_j is far from 0 under the potentials
(u, v) of the last plan. It takes reduced costs, whose plans are the same, and begins nearer its end with them. The new
potentials are held against all pairs, those that violate them or nearly do join, and it is solved again until none
violates them; then the plan is optimal among all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dazoo.methods.base import Context
from dazoo.methods.transport._plan import EMD_ITERATIONS, even_weights

Array = np.ndarray
NEAR = 16  # pairs per sample that are tried first
SMALL = 20_000  # pairs among which none is left out
SAMPLE = 50_000
TOLERANCE = 1e-11  # of the largest cost
PRICINGS = 10
STEP, ENOUGH = 0.99, 1e-4  # POT's first step of a search, and the share of the expected fall that it must bring


@dataclass
class Plans:
    """Exact plans (n_s, n_t), sparse, of one cost after the other."""

    ctx: Context
    used: Any = field(default=None, init=False)
    potentials: tuple[Array, Array] | None = field(default=None, init=False)

    def __call__(self, cost: Array) -> Any:
        """The plan of least ``cost`` (n_s, n_t)."""
        found = None
        if self.potentials is not None and cost.size > SMALL:
            found = self._priced(cost)
        if found is None:
            found, potentials, solved = self._solved(cost, _scale(cost))
            if not solved:
                self.ctx.warn("the transport problem was not solved to the end")
            self.potentials = potentials if solved else None
        if cost.size > SMALL:  # pairs of earlier plans are tried again
            self.used = found if self.used is None else self.used + found
        return found

    def _priced(self, cost: Array) -> Any:
        from scipy.sparse import coo_array

        assert self.potentials is not None
        u, v = self.potentials
        scale = _scale(cost)
        allowed = -TOLERANCE * scale
        reduced = _reduced(cost, u, v)
        tried = reduced <= _limit(reduced)
        tried[self.used.nonzero()] = True
        for _ in range(PRICINGS):
            rows, cols = np.nonzero(tried)
            some = coo_array((reduced[rows, cols], (rows, cols)), cost.shape)
            plan, (more_u, more_v), solved = self._solved(some, scale)
            if not solved:
                return None
            u, v = u + more_u, v + more_v
            reduced = _reduced(cost, u, v, reduced)
            missed = reduced < allowed
            if not missed.any():
                self.potentials = u, v
                return plan
            if missed.sum() > NEAR * sum(cost.shape):  # those of each row that are worst
                tried[np.arange(len(cost)), reduced.argmin(axis=1)] = True
            else:
                tried |= reduced <= max(_limit(reduced), allowed)
        return None

    def _solved(self, cost: Any, scale: float) -> tuple[Any, tuple[Array, Array], bool]:
        """Plan, potentials, and whether they are optimal; a sparse ``cost`` leaves pairs out."""
        import ot
        from scipy.sparse import csr_array

        n, m = cost.shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plan, log = ot.emd(
                even_weights(n), even_weights(m), cost / scale, numItermax=EMD_ITERATIONS, log=True,
                check_marginals=False, center_dual=False,
            )  # fmt: skip
        plan = csr_array(plan)
        plan.eliminate_zeros()
        return plan, (scale * log["u"], scale * log["v"]), log["warning"] is None


def _reduced(cost: Array, u: Array, v: Array, out: Array | None = None) -> Array:
    """C_ij - u_i - v_j."""
    out = np.subtract(cost, u[:, None], out=out)
    out -= v
    return out


def _sample(cost: Array) -> Array:
    sample: Array = cost.ravel()[:: max(cost.size // SAMPLE, 1)]
    return sample


def _scale(cost: Array) -> float:
    """About the largest cost, and not 0."""
    return float(np.abs(_sample(cost)).max()) or 1.0


def _limit(reduced: Array) -> float:
    """What about ``NEAR`` entries per row and column do not exceed."""
    sample = _sample(reduced)
    at = min(NEAR * sum(reduced.shape) * len(sample) // reduced.size, len(sample) - 1)
    return float(np.partition(sample, at)[at])


@dataclass(frozen=True)
class Descent:
    """A plan (n_s, n_t), sparse; the objective before and after every round; the last duality gap."""

    plan: Any
    values: list[float]
    gap: float


def conditional_gradient(
    linear: Array,
    quadratic: Callable[[Any], Array],
    start: Any,
    plans: Plans,
    rounds: int,
    tolerance: float,
    value: float | None = None,
    step: float | None = None,
) -> Descent:
    """min_P <P, linear> + <P, quadratic(P)> / 2 over plans, from ``start``, until the value changes by less than
    ``tolerance`` of itself.

    Args:
        linear: (n_s, n_t).
        quadratic: a symmetric positive semi-definite linear map of plans, sparse, to (n_s, n_t).
        value: of the objective at ``start``, where it has a constant part.
        step: the length that is tried first, as POT does; the best one is taken where that does not bring enough.
    """
    plan, slope = start, quadratic(start)
    slope += linear
    values = [(plan_cost(plan, slope) + plan_cost(plan, linear)) / 2 if value is None else value]
    gap = 0.0
    for _ in range(max(rounds, 1)):
        vertex = plans(slope)
        there = quadratic(vertex)
        there += linear
        move = vertex - plan
        fall = plan_cost(move, slope)
        gap, curve = -fall, (plan_cost(move, there) - fall) / 2
        length = 1.0 if curve <= 0 else min(max(-fall / (2 * curve), 0.0), 1.0)
        if step is not None and step * fall + step**2 * curve <= ENOUGH * step * fall:
            length = step
        plan = plan + length * move
        there -= slope
        there *= length
        slope += there
        values.append(values[-1] + length * fall + length**2 * curve)
        if abs(values[-1] - values[-2]) < tolerance * abs(values[-1]):
            break
    return Descent(plan, values, gap)


def plan_cost(plan: Any, cost: Array) -> float:
    """<plan, cost> of a sparse ``plan`` (n_s, n_t)."""
    entries = plan.tocoo()
    return float(entries.data @ cost[entries.row, entries.col])
