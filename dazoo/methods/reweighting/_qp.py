"""A primal-dual interior-point method for the quadratic programmes of mean matching.

    min_b  1/2 b'Q b - c'b      subject to  0 <= b_i <= upper,   low <= a'b <= high

with Q dense (n, n), or of low rank, Z Z' with Z (n, r): then a step costs O(n r^2) and no n x n matrix exists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.errors import NonFiniteError
from dazoo.ops.linalg.blas import cholesky, cholesky_solve, product
from dazoo.ops.linalg.linear import second_moment

Solver = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Quadratic:
    """Q, either as ``dense`` (n, n) or as ``factor`` Z (n, r) of Z Z'."""

    dense: Tensor | None = None
    factor: Tensor | None = None

    def times(self, b: Tensor) -> Tensor:
        """Q b (n,)."""
        if self.factor is not None:
            return self.factor @ (self.factor.T @ b)
        assert self.dense is not None
        return self.dense @ b

    def solver(self, diagonal: Tensor) -> Solver:
        """Solves (Q + diag(``diagonal``)) x = r for right sides r (n, k), by Cholesky or Woodbury's formula."""
        if self.factor is not None:
            z, inverse = self.factor, 1 / diagonal[:, None]
            inner = second_moment(z * inverse.sqrt())
            inner.diagonal().add_(1.0)
            small = cholesky(inner)

            def woodbury(r: Tensor) -> Tensor:
                r = r * inverse
                return r - inverse * product(z, cholesky_solve(small, product(z.T, r)))

            def refined(r: Tensor) -> Tensor:
                x = woodbury(r)
                return x + woodbury(r - diagonal[:, None] * x - product(z, product(z.T, x)))

            return refined
        assert self.dense is not None
        a = self.dense.clone()
        a.diagonal().add_(diagonal)
        lower = cholesky(a)
        return lambda r: cholesky_solve(lower, r)


@dataclass(frozen=True)
class Solution:
    """The point ``b`` (n,), its complementarity ``gap`` (0 at the optimum) and whether it got below the tolerance.

    ``lower``, ``upper`` (n,) and ``low``, ``high`` () are the multipliers of the bounds and of the slab:
    Q b - c - lower + upper + (high - low) a = 0 at the optimum.
    """

    b: Tensor
    gap: float
    converged: bool
    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor


def solve_qp(
    q: Quadratic,
    c: Tensor,
    a: Tensor,
    upper: float,
    low: float,
    high: float,
    start: Tensor,
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> Solution:
    """Solve from a ``start`` (n,) strictly inside all constraints; every iterate stays inside.

    ``tolerance`` bounds the mean complementarity product and the stationarity residual, both per unit of ``c``'s
    largest entry, so it should be small against 1.
    """
    n = len(c)
    unit = float(torch.stack([c.abs().max(), q.times(start).abs().max()]).max().clamp(min=1e-300))
    q = Quadratic(None if q.dense is None else q.dense / unit, None if q.factor is None else q.factor / unit**0.5)
    c = c / unit
    b = start.clone()
    total = a @ b
    slacks = [b, upper - b, total - low, high - total]
    duals = [1.0 / s for s in slacks]
    gap, converged = float("inf"), False
    for _ in range(iterations):
        gradient = q.times(b) - c
        stationarity = gradient - duals[0] + duals[1] + (duals[3] - duals[2]) * a
        mu = sum(float((s * d).sum()) for s, d in zip(slacks, duals)) / (2 * n + 2)
        gap = mu
        if mu < tolerance and float(stationarity.abs().max()) < max(tolerance, 1e-12) * 10:
            converged = True
            break
        diagonal = duals[0] / slacks[0] + duals[1] / slacks[1]
        try:
            solve = q.solver(diagonal + 1e-14 * diagonal.max().clamp(max=1.0))
        except torch.linalg.LinAlgError:
            break
        system = _System(gradient, slacks, duals, a)
        solved = solve(torch.stack([a, system.right(0.0)], dim=1))
        lifted = solved[:, 0]
        moves, dual_steps = system.direction(0.0, solved[:, 1], lifted)
        step = system.longest(moves, dual_steps)
        ahead = [s + step * m for s, m in zip(slacks, moves)]
        then = sum(float((s * (d + step * e)).sum()) for s, d, e in zip(ahead, duals, dual_steps)) / (2 * n + 2)
        sigma = min(max(then / mu, 0.0) ** 3, 0.9)
        aim = max(sigma * mu, 1e-3 * mu, tolerance / 10)
        moves, dual_steps = system.direction(aim, solve(system.right(aim)[:, None])[:, 0], lifted)
        step = min(1.0, 0.99 * system.longest(moves, dual_steps))
        if not bool(torch.isfinite(moves[0]).all()):
            break
        b = b + step * moves[0]
        duals = [d + step * e for d, e in zip(duals, dual_steps)]
        # moved, not recomputed: near a face the difference of sums would lose all its digits
        slacks = [v + step * m for v, m in zip(slacks, moves)]
    b = b.clamp(0.0, upper)
    if not bool(torch.isfinite(b).all()):
        raise NonFiniteError("the quadratic programme of the weights has no finite solution; scale the features")
    return Solution(b, gap, converged, duals[0] * unit, duals[1] * unit, duals[2] * unit, duals[3] * unit)


@dataclass(frozen=True)
class _System:
    """The Newton equations at one iterate; the slab's rank-one term enters by the Sherman-Morrison formula."""

    gradient: Tensor
    slacks: list[Tensor]
    duals: list[Tensor]
    a: Tensor

    def right(self, target: float) -> Tensor:
        """The right side (n,) of the condensed equations towards complementarity products of ``target``."""
        s, a = self.slacks, self.a
        return -self.gradient + target / s[0] - target / s[1] + (target / s[2] - target / s[3]) * a

    def direction(self, target: float, plain: Tensor, lifted: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Steps of the four slacks (the first is b) and multipliers, from the solutions ``plain`` for ``right(target)``
        and ``lifted`` for ``a``."""
        s, d, a = self.slacks, self.duals, self.a
        rho = d[2] / s[2] + d[3] / s[3]
        total = (a @ plain) / (1 + rho * (a @ lifted))  # a'db without the cancellation in a @ db
        db = plain - lifted * (rho * total)
        moves = [db, -db, total, -total]
        return moves, [(target - e * m) / v - e for v, e, m in zip(s, d, moves)]

    def longest(self, moves: list[Tensor], dual_steps: list[Tensor]) -> float:
        """The longest step, at most 1, that keeps slacks and multipliers from turning negative."""
        longest = 1.0
        for value, move in zip([*self.slacks, *self.duals], [*moves, *dual_steps]):
            ratio = torch.where(move < 0, -value / move, torch.full_like(value, torch.inf)).min()
            longest = min(longest, float(ratio))
        return longest
