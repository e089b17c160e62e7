"""Pseudo-labels online: cross-entropy with the network's own sure answers, batch after batch. After Lee, 2013.

    min_{gamma, beta}  mean over kept of -log p_iy,   y = argmax p_i,   kept: p_iy > threshold

p_i = softmax(C(F(x_i))); one step of Adam per batch x (b, ...) that keeps a sample, batch normalisation by the batch's
statistics. Answers are from before the step.

Evidence: tests/test_stream_methods.py (one step equals a transcription; threshold 1 is the source with batch
statistics).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend


@register
class PseudoLabelOnline(MovesNorms):
    """Pseudo-labelling of a stream."""

    paper = Paper(
        title=(
            "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks"
        ),
        authors="Dong-Hyun Lee", year=2013, url="https://www.semanticscholar.org/paper/798d9840d2439a0e5d47bcf5d164aa46d5e7dc26",
        venue="ICML workshop",
        deviations="made for batches that are seen once, as the comparisons of TENT and T3A have it: normalisations "
        "move, and unsure samples are left out",
    )  # fmt: skip
    toy_hparams = {"threshold": 0.5}

    threshold: float = hp(0.9, 0.3, 0.99, most=1.0, help="probability above which an answer is a label")

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out = self.answer(net, x)
        sure, y = out.scores.detach().softmax(-1).max(-1)
        kept = sure > self.threshold
        if bool(kept.any()):
            descend(state, cross_entropy(out.scores[kept], y[kept]))
        return out
