"""Target shift by kernel mean matching. Zhang, Schölkopf, Muandet and Wang, ICML 2013.

p(y) changes, p(x|y) does not. The class weights b_c = p_t(c) / p_s(c) make reweighted class means meet the target's:

    min_b  || sum_c b_c s_c m_c - m_t ||^2 = b'A b - 2 a'b + const,    A_cd = s_c s_d <m_c, m_d>,   a_c = s_c <m_c, m_t>
    subject to  0 <= b_c <= bound,   |sum_c s_c b_c - 1| <= eps,   eps = bound / (4 sqrt(n_s));      w_i = b_{y_i}

s_c (C,) is the share of class c in the source, m_c and m_t the means of class c and of the target in the space of a
Gaussian kernel whose width is the median distance.

Evidence: tests/test_label_shift.py::test_mmd_target_shift_equals_a_generic_solver, test_label_shift_is_recovered.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._label_shift import LabelShift
from dazoo.methods.reweighting._means import embed
from dazoo.methods.reweighting._qp import Quadratic, solve_qp
from dazoo.methods.shallow import source_of
from dazoo.ops.classwise import one_hot


@register
class MMDTargetShift(LabelShift):
    """Target shift by kernel mean matching."""

    paper = Paper(
        title="Domain Adaptation under Target and Conditional Shift",
        authors="Kun Zhang, Bernhard Schölkopf, Krikamol Muandet, Zhikun Wang", year=2013,
        url="https://proceedings.mlr.press/v28/zhang13d.html", venue="ICML",
        deviations="classes only, with a delta kernel on the labels, for which the conditional embedding needs no "
        "regularisation",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    scale: float = hp(1.0, 0.1, 10.0, log=True, help="width of the kernel over the median distance", positive=True)
    bound: float = hp(10.0, help="largest class weight", positive=True)
    exact: int = hp(2000, help="largest number of source samples with an exact kernel matrix")
    landmarks: int = hp(200, help="number of Nystroem features beyond that")

    def class_weights(self, seen: Seen, ctx: Context) -> Tensor:
        """b (C,); 0 for classes without source samples."""
        quadratic, linear, share = self.problem(seen, ctx)
        present = share > 0
        n_s = len(source_of(seen))
        slack = min(self.bound / (4 * math.sqrt(n_s)), 1.0)
        s = share[present]
        solution = solve_qp(
            Quadratic(dense=quadratic[present][:, present]),
            linear[present],
            s,
            self.bound,
            1 - slack,
            1 + slack,
            torch.ones_like(s),
        )
        if not solution.converged:
            ctx.warn(f"mmd_target_shift: the solver stopped before it converged (complementarity {solution.gap:.1e})")
        weights = torch.zeros_like(share)
        weights[present] = solution.b
        return weights

    def problem(self, seen: Seen, ctx: Context) -> tuple[Tensor, Tensor, Tensor]:
        """A (C, C), a (C,) and the source's class shares s (C,)."""
        e = embed(seen, ctx, self.scale, self.exact, self.landmarks)
        belongs = one_hot(source_of(seen).y, seen.n_classes, torch.float64) / len(e.mean)
        if e.kernel.factor is not None:
            means = e.kernel.factor.T @ belongs
            quadratic = means.T @ means
        else:
            assert e.kernel.dense is not None
            quadratic = belongs.T @ e.kernel.dense @ belongs
        return quadratic, belongs.T @ e.mean, belongs.sum(0)
