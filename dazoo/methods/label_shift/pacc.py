"""PACC: probabilistic adjusted classify and count. Bella, Ferri, Hernández-Orallo, Ramírez-Quintana, ICDM 2010.

    M q = m,     M_ij = E_s[p(i|x) | y = j] (C, C),     m_i = E_t[p(i|x)] (C,)

q (C,) are the shares that explain the mean probabilities p(i|x) on the target; negative ones become 0, and the sum 1. M
comes from cross-validation on the source. q is what ``bbse`` with ``soft`` divides by the source's shares; here the
classifier is trained once and its answers are corrected.

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
class PACC(Quantifier):
    """Probabilistic adjusted classify and count."""

    paper = Paper(
        title="Quantification via Probability Estimators",
        authors="Antonio Bella, Cèsar Ferri, José Hernández-Orallo, María José Ramírez-Quintana", year=2010,
        url="https://doi.org/10.1109/ICDM.2010.75", venue="ICDM",
        deviations="M by cross-validation, with target predictions averaged over its models; several classes by "
        "solving M q = m, by least squares of minimum norm where M is singular, as all papers since; answers are "
        "corrected by the shares",
    )  # fmt: skip

    folds: int = hp(5, 2, 10, help="folds of the cross-validation that estimates the confusions")

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        return adjusted(self.name, seen, ctx, self.folds, soft=True)
