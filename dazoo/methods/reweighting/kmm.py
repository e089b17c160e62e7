"""KMM: kernel mean matching. Huang, Smola, Gretton, Borgwardt and Schölkopf, NIPS 2006.

The weighted source has the target's mean in the space of a Gaussian kernel:

    min_w  || (1/n_s) sum_i w_i phi(x_s,i) - (1/n_t) sum_j phi(x_t,j) ||^2
    i.e.   1/2 w'K w - k'w,     K_ij = k(x_s,i, x_s,j) (n_s, n_s),     k_i = (n_s/n_t) sum_j k(x_s,i, x_t,j)
    subject to  0 <= w_i <= bound,   |mean(w) - 1| <= eps,   eps = (sqrt(n_s) - 1) / sqrt(n_s)

Block pivoting on w >= 0 solves it to rounding where the other constraints do not bind, which is the rule; otherwise an
interior-point method to a duality gap of 1e-9. Up to ``exact`` source samples K is exact, beyond it stands a product of
Nystroem features (n, r), which costs O(n r^2), and a warning says so. The width is the median distance.

Evidence: tests/test_reweighting_means.py::test_kmm_satisfies_the_kkt_conditions, test_kmm_equals_a_generic_solver,
test_pivoting_equals_the_interior_point, test_kmm_nystroem_comes_near_the_exact_optimum.
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
from dazoo.methods.reweighting._active import solve_nonnegative
from dazoo.methods.reweighting._means import embed
from dazoo.methods.reweighting._qp import Quadratic, Solution, solve_qp
from dazoo.methods.shallow import Reweighting
from dazoo.ops.linalg.blas import plain


@register
class KMM(Reweighting):
    """Kernel mean matching."""

    paper = Paper(
        title="Correcting Sample Selection Bias by Unlabeled Data",
        authors="Jiayuan Huang, Alexander J. Smola, Arthur Gretton, Karsten M. Borgwardt, Bernhard Schölkopf",
        year=2006, url="https://papers.nips.cc/paper/2006/hash/a2186aa7c086b46ad4e8bf81e2a3a19b-Abstract.html",
        venue="NIPS", deviations="none up to exact source samples, Nystroem features beyond",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "target"

    scale: float = hp(1.0, 0.1, 10.0, log=True, help="width of the kernel over the median distance", positive=True)
    bound: float = hp(1000.0, 2.0, 1000.0, log=True, help="largest weight", positive=True)
    exact: int = hp(2000, help="largest number of source samples with an exact kernel matrix")
    landmarks: int = hp(200, help="number of Nystroem features beyond that")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The optimal weights."""
        solution = self.solve(seen, ctx)
        if not solution.converged:
            ctx.warn(f"kmm: the solver stopped before it converged (complementarity {solution.gap:.1e})")
        return solution.b

    def solve(self, seen: Seen, ctx: Context) -> Solution:
        """The quadratic programme in the scale K / n_s, k / n_s."""
        if not self.bound > 1:
            raise DazooError(f"kmm.bound must be above 1, or no weights of mean 1 exist; it is {self.bound}")
        e = embed(seen, ctx, self.scale, self.exact, self.landmarks)
        n = len(e.mean)
        q = e.kernel
        q = Quadratic(None if q.dense is None else q.dense / n, None if q.factor is None else q.factor / math.sqrt(n))
        slack = max((math.sqrt(n) - 1) / math.sqrt(n), 1e-3)
        ones = torch.ones_like(e.mean)
        free = self.unbounded(q, e.mean, slack)
        return free or solve_qp(q, e.mean, ones / n, self.bound, 1 - slack, 1 + slack, ones)

    def unbounded(self, q: Quadratic, c: Tensor, slack: float) -> Solution | None:
        """The optimum under b >= 0 alone, where it meets the other constraints too and so is the programme's."""
        if q.dense is None or not plain(q.dense, c) or c.dtype is not torch.float64:
            return None
        found = solve_nonnegative(q.dense.numpy(), c.numpy())
        if found is None or not (found[0].max() <= self.bound and abs(found[0].mean() - 1) <= slack):
            return None
        b, lower = (torch.from_numpy(v) for v in found)
        none = torch.zeros_like(b)
        return Solution(b, 0.0, True, lower, none, none[0], none[0])
