"""Accuracy on the answers that were kept from the method: the only rule that may choose where labels are asked for.

V = 1/n sum_i [argmax_c s_ic = y_i]          over the held-out ones of the target samples that the method asked for

None where nothing is held out (``asked_holdout``). The samples are those that a strategy finds hard, so that V is no
estimate of the target's accuracy, and runs of different strategies are not compared by it.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator()
def asked_validation(answers_scores: Tensor, answers_labels: Tensor, n_classes: int) -> Tensor:
    """Accuracy on held-out answers (classes), or minus the mean squared error (regression)."""
    if n_classes == 0:
        return -(answers_scores.squeeze(1) - answers_labels).square().mean()
    return (answers_scores.argmax(1) == answers_labels).double().mean()
