"""ACC: adjusted classify and count. Forman, Data Mining and Knowledge Discovery 2008.

    M q = m,     M_ij = P_s(f(x) = i | y = j) (C, C),     m_i = P_t(f(x) = i) (C,)

q (C,) are the shares that explain the counts of predictions f(x) on the target; negative ones become 0, and the sum 1.
M comes from cross-validation on the source. q is what ``bbse`` divides by the source's shares to weigh its samples;
here the classifier is trained once and its answers are corrected.

Evidence: tests/test_quantification.py::test_exact_confusions_give_exact_shares,
test_errors_on_label_shift_lie_in_the_stated_bands; tests/test_parity.py (prior_adjusted_counts).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier, adjusted


@register
class ACC(Quantifier):
    """Adjusted classify and count."""

    paper = Paper(
        title="Quantifying Counts and Costs via Classification",
        authors="George Forman", year=2008,
        url="https://doi.org/10.1007/s10618-008-0097-y", venue="Data Mining and Knowledge Discovery (Journal)",
        deviations="M by cross-validation, with target predictions averaged over its models; several classes by "
        "solving M q = m, by least squares of minimum norm where M is singular, as all papers since; answers are "
        "corrected by the shares",
    )  # fmt: skip

    folds: int = hp(5, 2, 10, help="folds of the cross-validation that estimates the confusions")

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        return adjusted(self.name, seen, ctx, self.folds, soft=False)
