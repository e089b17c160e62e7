"""CC: classify and count. Forman, Data Mining and Knowledge Discovery 2008.

    q_c = (1/n_t) sum_j 1(argmax_d p(d|x_j) = c)

q (C,) are the shares of the target's predictions. Under label shift they are M q for the true shares q, with
M_ij = P(predicted i | class j), so the estimate is wrong unless the classifier is perfect, and more so the further the
shares have moved: the row that quantifiers are compared with.

Evidence: tests/test_quantification.py::test_counting_is_wrong_by_the_confusions,
test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier
from dazoo.ops.classwise import one_hot


@register
class CC(Quantifier):
    """Classify and count."""

    paper = Paper(
        title="Quantifying Counts and Costs via Classification",
        authors="George Forman", year=2008,
        url="https://doi.org/10.1007/s10618-008-0097-y", venue="Data Mining and Knowledge Discovery (Journal)",
        deviations="several classes, as all papers since; the classifier's answers are corrected by the shares, which "
        "the paper, about shares alone, does not do",
    )  # fmt: skip

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        return one_hot(scores.argmax(1), seen.n_classes).to(scores).mean(0)
