"""CMF: a Kalman filter over the weights, between the source and the stream. Lee and Chang, ICLR 2024.

    min_theta  1/b sum_i w_i [ SLR(x_i) + consistency SCE(view(x_i), x_i) ]  as in ROID;  then phi = theta0, v = 0 first
    phi <- a phi + (1 - a) theta0,   v <- a^2 v + q                 back to the source, less sure
    phi <- k phi + (1 - k) theta,    v <- k v,   k = r / (v + r)    towards the step, r = 1 - q
    theta <- g theta + (1 - g) phi

theta are gamma and beta, theta0 the source's, k is kept between 0.89 and 1. w_i, SLR, SCE and the correction of answers
by class shares are those of ROID; answers are from before the step.

Evidence: tests/test_stream_losses.py (two batches of the filter by hand; without it, it is ROID without its source).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._certain import SureAndSeldom


@register
class CMF(SureAndSeldom):
    """Continual momentum filtering."""

    paper = Paper(
        title="Continual Momentum Filtering on Parameter Space for Online Test-time Adaptation",
        authors="Jae-Hong Lee, Joon-Hyuk Chang",
        year=2024, url="https://openreview.net/forum?id=BllUWdpIOA",
        venue="International Conference on Learning Representations",
        deviations="q does not depend on the number of weights, where the authors' program scales it by their number "
        "over 38,400; the filter holds what moves, where theirs holds all weights, of which the others stand still; "
        "shares correct probabilities, as in ROID here",
    )  # fmt: skip

    recall: float = hp(0.99, 0.9, 1.0, help="a, share of the filtered weights that does not return to the source")
    noise: float = hp(0.005, 0.0005, 0.05, log=True, most=0.5, help="q, how far the stream may move per batch")
    keep: float = hp(0.99, 0.9, 1.0, help="g, share of the weights that stays beside the filtered ones")

    def settle(self, theta: list[Tensor], source: list[Tensor], state: StreamState) -> None:
        phi = state.memory.get("filtered", source)
        variance = self.recall**2 * state.memory.get("variance", 0.0) + self.noise
        gain = (1.0 - self.noise) / (variance + 1.0 - self.noise)
        gain = 1.0 if gain >= 0.9999 else max(gain, 0.89)
        phi = [gain * (self.recall * f + (1.0 - self.recall) * p0) + (1.0 - gain) * p
               for f, p0, p in zip(phi, source, theta)]  # fmt: skip
        state.memory.update(filtered=phi, variance=gain * variance)
        for p, f in zip(theta, phi):
            p.lerp_(f, 1.0 - self.keep)
