"""MLLS: maximum likelihood label shift. Garg, Wu, Balakrishnan, Lipton, NeurIPS 2020.

    w = argmax_w  (1/n_t) sum_j log sum_c w_c p(c|x_j),     w >= 0,  sum_c p_c w_c = 1,      q_c = p_c w_c

p(c|x) (n_t, C) are calibrated probabilities of the target's samples, p_c the source's class shares, w (C,) the
importance weights of the classes and q (C,) the target's shares. The objective is concave, and is solved as such;
expectation maximisation climbs the same hill, so that with ``calibration="bcts"`` the answer is that of ``bcts_em``, up
to what EM leaves to go. ``vector`` has a scale per class beside the bias.

Evidence: tests/test_quantification.py::test_likelihood_has_one_maximum, test_exact_mixtures_give_exact_shares,
test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Quantifier, in_classes, source_shares
from dazoo.methods.label_shift.bcts_em import calibrated_by
from dazoo.ops.shares import CALIBRATIONS, likelihood_shares
from dazoo.shallow.steps import Head


@register
class MLLS(Quantifier):
    """Maximum likelihood label shift."""

    paper = Paper(
        title="A Unified View of Label Shift Estimation",
        authors="Saurabh Garg, Yifan Wu, Sivaraman Balakrishnan, Zachary C. Lipton", year=2020,
        url="https://arxiv.org/abs/2003.07554", venue="NeurIPS",
        deviations="calibrated on held-out predictions of cross-validation instead of one held-out part",
    )  # fmt: skip

    calibration: str = hp("bcts", choices=CALIBRATIONS, help="how probabilities are calibrated: see ops.shares")
    folds: int = hp(5, 2, 10, help="folds of the cross-validation that gives the predictions to calibrate")

    def calibrated(self, seen: Seen, ctx: Context, head: Head) -> Head:
        return calibrated_by(self.calibration, seen, ctx, head, self.folds)

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        share = source_shares(seen).to(scores)
        present = share > 0
        found, converged = likelihood_shares(torch.softmax(scores, 1)[:, present] / share[present])
        if not converged:
            ctx.warn("mlls: the solver stopped before it converged")
        return in_classes(found, present)
