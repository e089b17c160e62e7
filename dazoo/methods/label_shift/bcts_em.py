"""BCTS and EM: expectation maximisation on calibrated probabilities. Alexandari, Kundaje, Shrikumar, ICML 2020.

    p(c|x) = softmax_c(a s(x) + b),     (a, b) = argmin  -sum_i log p(y_i|x_i)  over held-out source samples
    q_c <- (1/n_t) sum_j  q_c p(c|x_j) / p_c  /  sum_d q_d p(d|x_j) / p_d

s(x) (C,) are the classifier's log-probabilities, a > 0 one inverse temperature, b (C,) a bias per class
(bias-corrected temperature scaling), p_c the source's class shares and q (C,) the target's. With the bias calibrated
probabilities average to p_c on the source, without which EM finds a shift where there is none. ``em_prior`` is the
same without calibration.

Evidence: tests/test_quantification.py::test_calibration_finds_scale_and_bias, test_exact_mixtures_give_exact_shares,
test_likelihood_has_one_maximum, test_errors_on_label_shift_lie_in_the_stated_bands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.label_shift._quantifier import Calibrated, Quantifier, source_shares
from dazoo.methods.reweighting._label_shift import held_out
from dazoo.methods.reweighting.em_prior import ITERATIONS, em_priors
from dazoo.methods.shallow import source_of
from dazoo.ops.shares import calibration
from dazoo.shallow.steps import Head


@register
class BCTSEM(Quantifier):
    """Expectation maximisation on calibrated probabilities."""

    paper = Paper(
        title="Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation",
        authors="Amr Alexandari, Anshul Kundaje, Avanti Shrikumar", year=2020,
        url="https://arxiv.org/abs/1901.06852", venue="ICML",
        deviations="calibrated on held-out predictions of cross-validation instead of one held-out part",
    )  # fmt: skip

    folds: int = hp(5, 2, 10, help="folds of the cross-validation that gives the predictions to calibrate")

    def calibrated(self, seen: Seen, ctx: Context, head: Head) -> Head:
        return calibrated_by("bcts", seen, ctx, head, self.folds)

    def shares(self, seen: Seen, ctx: Context, scores: Tensor) -> Tensor:
        found, trace = em_priors(torch.softmax(scores, 1), source_shares(seen).to(scores))
        if len(trace) == ITERATIONS:
            ctx.warn(f"bcts_em: the shares still moved after {ITERATIONS} iterations")
        return found


def calibrated_by(kind: str, seen: Seen, ctx: Context, head: Head, folds: int) -> Head:
    """``head`` with its probabilities calibrated on held-out source samples; ``kind`` as in ``ops.shares``."""
    if kind == "none":
        return head
    scores = torch.log_softmax(held_out(seen, ctx, folds), 1)
    return Calibrated(head, *calibration(scores, source_of(seen).y, kind))
