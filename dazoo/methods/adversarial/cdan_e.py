"""CDAN+E: conditional adversarial adaptation that weighs samples by certainty. Long, Cao, Wang, Jordan, NeurIPS 2018.

    min_{F,C} max_D  CE(C(F(x_s)), y_s) - trade_off * r(t) * sum_i w_i BCE(D(g_i (x) f_i), d_i) / (2 b)
    w_i = (1 + exp(-H(g_i))),  scaled to sum to the number 2 b of samples in both batches

f (width,) features, g = softmax(C(f)) (C,) predictions without gradient, g (x) f (C * width,): ``cdan`` with its
entropy conditioning on.

Evidence: tests/test_parity.py (cdan_e), tests/test_adversarial.py (transcription; equals cdan with entropy=True).
"""

from __future__ import annotations

from typing import ClassVar

from dazoo.methods.adversarial.cdan import CDAN
from dazoo.methods.base import register


@register
class CDANE(CDAN):
    """CDAN with entropy conditioning."""

    entropy: ClassVar[bool] = True  # type: ignore[misc]
