"""HFA: augmented features of both spaces in one support vector machine. Duan, Xu and Tsang, ICML 2012.

    phi_s(x) = [P x; x; 0],   phi_t(x) = [Q x; 0; x],   H = [P, Q]' [P, Q] >= 0,  tr H <= lam
    min_H max_a  sum_i a_i - 1/2 sum_ij a_i a_j y_i y_j <phi(x_i), phi(x_j)>,   0 <= a_i <= C,  sum_i a_i y_i = 0

over the labelled samples of both domains, n_s + n_f, one class against the rest: P (m, d_s) and Q (m, d_t) map to a
common space of any width m and enter through H alone, so the problem is convex. With kernels K_s and K_t on either
side H becomes a matrix in the coordinates of their roots; it is found by ``rounds`` Frank-Wolfe steps, each a rank-one
matrix that joins the current separating directions of the two domains (``_augmented``).

Evidence: tests/test_heterogeneous.py::test_hfa_without_a_common_space_is_two_machines, test_hfa_lowers_its_objective.
"""

from __future__ import annotations

import torch

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.heterogeneous._augmented import DRAWN, MOST, Augmented, Side, check_kernel, one_against_rest
from dazoo.methods.heterogeneous._maps import few_target
from dazoo.methods.heterogeneous._plans import drawn, spread_one
from dazoo.methods.shallow import source_of, source_x


@register
class HFA(ShallowMethod):
    """Heterogeneous feature augmentation."""

    paper = Paper(
        title="Learning with Augmented Features for Heterogeneous Domain Adaptation",
        authors="Lixin Duan, Dong Xu, Ivor W. Tsang", year=2012, url="https://arxiv.org/abs/1206.4660", venue="ICML",
        deviations="Frank-Wolfe steps over H, in the paper projected gradients; width of the kernels by the median; no "
        "gain at the defaults on SURF and deep features, where it is the machine of the labelled target within a "
        "point; of more than 6,000 samples 2,000 of each domain are learned from",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 1.5
    handles = Handles(marked="few", spaces="own")

    C: float = hp(1.0, 0.1, 100.0, log=True, help="cost of a violated margin", positive=True)
    lam: float = hp(100.0, 1.0, 1000.0, log=True, help="bound of the trace of H")
    kernel: str = hp("rbf", choices=("rbf", "linear"), help="kernel on either side")
    rounds: int = hp(5, help="Frank-Wolfe steps")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """One machine per class."""
        xf, yf = few_target(seen)
        if len(source_of(seen)) + len(xf) > MOST:
            seen = drawn(seen, ctx, self.name, DRAWN)
        xs, ys = source_x(seen), source_of(seen).y
        check_kernel(len(xs) + len(xf), self.name)
        spread_one(xs, self.name), spread_one(xf, self.name)
        problem = Augmented(Side(xs, self.kernel), Side(xf, self.kernel))
        y = torch.cat([ys, yf.to(ys)])
        c = torch.full((len(y),), self.C, dtype=torch.float64)
        return problem.predictor(*one_against_rest(problem, y, c, seen.n_classes, self.lam, self.rounds, ctx.warn))
