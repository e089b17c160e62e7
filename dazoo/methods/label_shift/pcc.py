"""PCC: probabilistic classify and count. Bella, Ferri, Hernández-Orallo, Ramírez-Quintana, ICDM 2010.

    q_c = (1/n_t) sum_j p(c|x_j)

q (C,) is the mean of the target's probabilities (n_t, C). A calibrated classifier has the right mean on the source;
under label shift its probabilities still carry the source's shares, so the estimate lies between them and the true
ones.

Evidence: tests/test_quantification.py::test_counting_is_wrong_by_the_confusions,
test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier


@register
class PCC(Quantifier):
    """Probabilistic classify and count."""

    paper = Paper(
        title="Quantification via Probability Estimators",
        authors="Antonio Bella, Cèsar Ferri, José Hernández-Orallo, María José Ramírez-Quintana", year=2010,
        url="https://doi.org/10.1109/ICDM.2010.75", venue="ICDM",
        deviations="several classes, as all papers since; the classifier's answers are corrected by the shares, which "
        "the paper, about shares alone, does not do",
    )  # fmt: skip

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        return torch.softmax(scores, 1).mean(0)
