"""RLLS: regularised learning under label shift. Azizzadenesheli, Liu, Yang and Anandkumar, ICLR 2019.

With C (C, C) and m (C,) as in BBSE, the weights are estimated as a regularised distance from 1:

    min_t  ||C t - (m - C 1)|| + rho ||t||     subject to  t >= -1,         w = 1 + gamma t
    rho = rho_scale * 3 (2 log(2 k / delta) / (3 n) + sqrt(2 log(2 k / delta) / n)),    k classes, n source samples

and the classifier is trained anew on the source with weights w_{y_i}. Both norms are not squared, so a small difference
between the domains is answered with t = 0. delta is 0.05.

Evidence: tests/test_label_shift.py::test_rlls_equals_a_generic_solver, test_rlls_without_shift_is_exactly_one,
test_label_shift_is_recovered, test_beats_source_only_under_label_shift.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._label_shift import LabelShift, confusion, note_unexplained
from dazoo.methods.shallow import source_of

DELTA = 0.05


@register
class RLLS(LabelShift):
    """Regularised learning under label shift."""

    paper = Paper(
        title="Regularized Learning for Domain Adaptation under Label Shifts",
        authors="Kamyar Azizzadenesheli, Anqi Liu, Fanny Yang, Animashree Anandkumar", year=2019,
        url="https://arxiv.org/abs/1903.09734", venue="ICLR",
        deviations="C comes from cross-validation instead of one split into halves; rho_scale 0.01 is the authors' "
        "choice in their code rather than the constant of the theorem",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    rho_scale: float = hp(0.01, 1e-3, 1.0, log=True, help="factor of the theorem's regularisation", positive=True)
    gamma: float = hp(1.0, 0.0, 1.0, help="how far to go from equal weights to the estimated ones")
    folds: int = hp(5, 2, 10, help="folds of the cross-validation that estimates the confusions")
    soft: bool = hp(False, choices=(False, True), help="use predicted probabilities instead of classes")

    def class_weights(self, seen: Seen, ctx: Context) -> Tensor:
        """w (C,)."""
        if not 0 <= self.gamma <= 1:
            raise DazooError(f"rlls.gamma must lie in [0, 1], not {self.gamma}")
        c = confusion(seen, ctx, self.folds, self.soft)
        present = c.share > 0
        theta, converged = solve_rlls(c.joint[:, present], c.target - c.joint.sum(1), self.rho(seen))
        if not converged:
            ctx.warn("rlls: the solver stopped before it converged")
        weights = torch.zeros_like(c.share)
        weights[present] = 1 + theta
        note_unexplained("rlls", c, weights, ctx)
        weights[present] = 1 + self.gamma * theta
        return weights

    def rho(self, seen: Seen) -> float:
        """The regularisation for this number of classes and source samples."""
        n, level = len(source_of(seen)), 2 * math.log(2 * seen.n_classes / DELTA)
        return self.rho_scale * 3 * (level / (3 * n) + math.sqrt(level / n))


def solve_rlls(c: Tensor, b: Tensor, rho: float, iterations: int = 500) -> tuple[Tensor, bool]:
    """min ||c t - b|| + rho ||t|| over t >= -1, and whether it converged: ``c`` (m, k), ``b`` (m,).

    Since ||v|| = min_s (||v||^2 / s + s) / 2, alternating between t, a bounded ridge regression, and the two scales
    s decreases a jointly convex objective. t = 0 is optimal exactly when ||c'b|| <= rho ||b||.
    """
    from scipy.optimize import lsq_linear

    k = c.shape[1]
    size = float(b.norm())
    if size < 1e-14 or float((c.T @ b).norm()) <= rho * size:
        return c.new_zeros(k), True
    theta, last = torch.full_like(c[0], 1.0), math.inf
    first, second = size, 1.0
    for _ in range(iterations):
        ridge = math.sqrt(rho * first / second)
        rows = torch.cat([c, ridge * torch.eye(k, dtype=c.dtype, device=c.device)]).cpu().numpy()
        right = torch.cat([b, b.new_zeros(k)]).cpu().numpy()
        found = lsq_linear(rows, right, bounds=(-1.0, math.inf), method="bvls", tol=1e-14)
        theta = torch.from_numpy(found.x).to(c)
        first, second = max(float((c @ theta - b).norm()), 1e-12), max(float(theta.norm()), 1e-12)
        value = first + rho * second
        if last - value <= 1e-12 * max(value, 1e-300):
            return theta, True
        last = value
    return theta, False
