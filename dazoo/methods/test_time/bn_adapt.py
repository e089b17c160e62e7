"""BN adapt: normalise each batch of the target by its own statistics. Schneider et al., NeurIPS 2020.

    y(x) = C(F(x; mu, var)),   mu = alpha mu_batch + (1 - alpha) mu_source,   var likewise

per channel of every batch normalisation. This is alpha = 1, the batch alone; nothing is learned. A batch of one sample
keeps the statistics of the source.

Evidence: tests/test_streams.py (equal to a forward pass in training mode; the stored statistics keep their bits).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.nets.parts.norm_mode import BATCH, NormMode


@register
class BNAdapt(StreamMethod):
    """Batch statistics at test time."""

    paper = Paper(
        title="Improving Robustness against Common Corruptions by Covariate Shift Adaptation",
        authors="Steffen Schneider, Evgenia Rusak, Luisa Eck, Oliver Bringmann, Wieland Brendel, Matthias Bethge",
        year=2020, url="https://arxiv.org/abs/2006.16971", venue="Advances in Neural Information Processing Systems",
        deviations="the batch's statistics alone (no mixture with the source's)",
    )  # fmt: skip

    needs_batch_norm = True
    still = {}

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        return self.answer(net, x)
