"""Block principal pivoting for quadratic programmes whose only active bounds are b >= 0. Kim and Park, SIAM J. Sci.
Comput. 2011, https://doi.org/10.1137/110821172.

    min_b  1/2 b'Q b - c'b      subject to  b >= 0,      Q (n, n) symmetric, positive semi-definite

A guess of the free variables F gives b_F = Q_FF^-1 c_F and y = Q b - c; free variables that are negative and fixed ones
with a negative slope y change sides, all at once, until none is left. Where most variables are free, as in mean
matching, that takes a handful of factorisations, where an interior point takes a dozen or more, and ends at the optimum
to rounding.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 30
PATIENCE = 3  # rounds of full exchanges that bring no progress before the search gives up
JITTER = 1e-10
FEW = 16  # removing up to a sixteenth of the variables from a factorisation is cheaper than a new one


class _Factor:
    """Q + jitter I on some variables, factorised once, for solutions on most of them."""

    def __init__(self, q: np.ndarray, jitter: float):
        self.q, self.jitter = q, jitter
        self.rows: np.ndarray | None = None
        self.lower: np.ndarray | None = None

    def solve(self, free: np.ndarray, c: np.ndarray) -> np.ndarray | None:
        """b (n,), zero outside ``free`` (n,), with (Q b)_F = c_F to rounding; None where Q is not semi-definite."""
        from scipy.linalg.lapack import dpotrf

        n = len(c)
        where = np.flatnonzero(free)
        if self.rows is None or not free.sum() <= self.rows.sum() or bool((free & ~self.rows).any()) or (
            (self.rows & ~free).sum() > n // FEW
        ):  # fmt: skip
            a = self.q.copy() if len(where) == n else self.q[np.ix_(where, where)]
            a.flat[:: len(a) + 1] += self.jitter
            self.lower, failed = dpotrf(a.T, lower=1, overwrite_a=1, clean=0)
            self.rows = free.copy()
            if failed:
                return None
        assert self.rows is not None
        kept = np.flatnonzero(self.rows)
        gone = np.flatnonzero(~free[kept])
        columns = self._solve(np.eye(len(kept))[:, gone]) if len(gone) else None
        b = np.zeros(n)
        for _ in range(3):  # the second and third pass take out what the jitter did
            step = self._solve((c - self.q @ b)[kept])
            if columns is not None:
                step -= columns @ np.linalg.solve(columns[gone], step[gone])
                step[gone] = 0.0
            b[kept] += step
        return b

    def _solve(self, right: np.ndarray) -> np.ndarray:
        from scipy.linalg.lapack import dpotrs

        x: np.ndarray = dpotrs(self.lower, right, lower=1)[0]
        return x


def solve_nonnegative(q: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The optimum b (n,) and the multipliers Q b - c (n,) of the bounds, 0 where b > 0; None where pivoting does not
    settle, or not to a residual of 1e-9 of ``c``'s largest entry."""
    unit = float(np.abs(c).max())
    if not unit > 0 or not np.isfinite(unit):
        return None
    factor = _Factor(q, JITTER * float(q.diagonal().max()))
    free = np.ones(len(c), bool)
    fewest, patience = len(c) + 1, PATIENCE
    for _ in range(ROUNDS):
        b = factor.solve(free, c)
        if b is None:
            return None
        slope = q @ b - c
        wrong = (free & (b < -1e-12)) | (~free & (slope < -1e-12 * unit))
        count = int(wrong.sum())
        if count == 0:
            settled = bool(np.abs(slope[free]).max(initial=0.0) < 1e-9 * unit)
            return (b.clip(0.0), np.where(free, 0.0, slope).clip(0.0)) if settled else None
        patience = PATIENCE if count < fewest else patience - 1
        fewest = min(fewest, count)
        if patience == 0:
            return None
        free ^= wrong
    return None
