"""JUMBOT for partial targets: the same transport, where little of the source finds a match. Fatras, Sejourne, Flamary,
Courty, ICML 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + trade_off * sum_ij P_ij (feature_weight * |f_s,i - f_t,j|^2
                                                             + label_weight * CE(C(f_t,j), y_s,i))
    P = argmin_P <P, c> + reg KL(P | a b') + mass (KL(P 1 | a) + KL(P' 1 | b))

as in ``jumbot``, with the weights that the paper gives for partial targets: leaving mass unmatched is eight times
cheaper, so that source samples of other classes stay where they are, and labels count more than features.

Evidence: tests/test_partial.py (test_jumbot_partial_is_jumbot_with_the_papers_weights), the tests of ``jumbot``.
"""

from __future__ import annotations

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.deep_transport.jumbot import JUMBOT


@register
class JUMBOTPartial(JUMBOT):
    """JUMBOT with the weights for partial targets."""

    paper = Paper(
        title="Unbalanced minibatch Optimal Transport; applications to Domain Adaptation",
        authors="Kilian Fatras, Thibault Séjourné, Rémi Flamary, Nicolas Courty", year=2021,
        url="https://arxiv.org/abs/2103.03606", venue="ICML",
        deviations="as jumbot's; the paper gives these weights for Office-Home",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial"}, n_sources={"one", "many"})
    family = "partial"

    feature_weight: float = hp(0.003, 1e-3, 1.0, log=True, help="share of the features in the cost")
    label_weight: float = hp(0.75, 1e-3, 1.0, log=True, help="share of the labels in the cost")
    mass: float = hp(0.06, 0.02, 1.0, log=True, help="price of leaving mass unmatched", positive=True)
