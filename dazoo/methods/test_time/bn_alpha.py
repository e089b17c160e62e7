"""BN alpha: batch statistics with the source's as a prior. Schneider et al., NeurIPS 2020.

    y(x) = C(F(x; mean, var)),   mean = (1 - alpha) mean_source + alpha mean_batch,   var likewise
    alpha = n / (n + N)

per channel of every batch normalisation, for a batch x (n, ...) and a prior that weighs as N samples; the batch's
variance is the unbiased one. Nothing is learned. A small batch is normalised nearly as the source's, a large one by
itself.

Evidence: tests/test_parity.py (tta_bn_alpha); tests/test_stream_methods.py (alpha 0 is the source, bit for bit).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register
from dazoo.nets.parts.norm_mode import NormMode, mixed


@register
class BNAlpha(StreamMethod):
    """Batch statistics at test time, mixed with the source's."""

    paper = Paper(
        title="Improving Robustness against Common Corruptions by Covariate Shift Adaptation",
        authors="Steffen Schneider, Evgenia Rusak, Luisa Eck, Oliver Bringmann, Wieland Brendel, Matthias Bethge",
        year=2020, url="https://arxiv.org/abs/2006.16971", venue="Advances in Neural Information Processing Systems",
    )  # fmt: skip
    needs_batch_norm = True
    still = {"prior": math.inf}

    prior: float = hp(16.0, 1.0, 256.0, log=True, help="N, samples that the source's statistics weigh as")

    def norm(self, rows: int) -> NormMode:
        return mixed(rows / (rows + self.prior))

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        return self.answer(net, x)
