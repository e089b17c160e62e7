"""BBSE: black box shift estimation. Lipton, Wang and Smola, ICML 2018.

For a fixed classifier f, label shift makes the target's predictions a mixture of the source's confusions:

    C w = m,     C_ij = P_s(f(x) = i, y = j) (C, C),     m_i = P_t(f(x) = i) (C,),     w_c = p_t(c) / p_s(c)

w is solved for, clipped at 0, and the classifier is trained anew on the source with weights w_{y_i}. ``soft`` replaces
f(x) = i by the predicted probability of i.

Evidence: tests/test_label_shift.py::test_bbse_recovers_priors_from_exact_confusions, test_label_shift_is_recovered,
test_beats_source_only_under_label_shift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._label_shift import Confusion, LabelShift, confusion, note_unexplained

SINGULAR = 1e-8


@register
class BBSE(LabelShift):
    """Black box shift estimation."""

    paper = Paper(
        title="Detecting and Correcting for Label Shift with Black Box Predictors",
        authors="Zachary C. Lipton, Yu-Xiang Wang, Alexander J. Smola", year=2018,
        url="https://proceedings.mlr.press/v80/lipton18a.html", venue="ICML",
        deviations="C comes from cross-validation instead of one split into halves; where C is numerically singular "
        "the minimum-norm least-squares solution is taken and a warning recorded; so is one where no proportions "
        "explain the target's predictions; where one class is left, the source stays as it is",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    folds: int = hp(5, 2, 10, help="folds of the cross-validation that estimates the confusions")
    soft: bool = hp(False, choices=(False, True), help="use predicted probabilities instead of classes")

    def class_weights(self, seen: Seen, ctx: Context) -> Tensor:
        """w (C,)."""
        return solve_bbse(confusion(seen, ctx, self.folds, self.soft), ctx)


def solve_bbse(c: Confusion, ctx: Context, name: str = "bbse") -> Tensor:
    """max(0, C^-1 m) on the classes of the source; ``name`` of the method for warnings."""
    present = c.share > 0
    joint = c.joint[:, present]
    left, values, right = torch.linalg.svd(joint, full_matrices=False)
    keep = values > SINGULAR * values[0]
    if not bool(keep.all()):
        ctx.warn(f"{name}: the confusion matrix is singular (a class is never predicted); weights are of minimum norm")
    w = right[keep].T @ ((left[:, keep].T @ c.target) / values[keep])
    weights = torch.zeros_like(c.share)
    weights[present] = w.clamp(min=0)
    note_unexplained(name, c, weights, ctx)
    return weights
