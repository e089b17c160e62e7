"""TENT: lower the entropy of each batch through the affine weights of normalisation. Wang et al., ICLR 2021.

    min_{gamma, beta}  1/b sum_i H(p_i),   p_i = softmax(C(F(x_i))),   H(p) = -sum_c p_c log p_c

one step of Adam per batch x (b, ...), batch normalisation by the batch's statistics. The answer for a batch is that of
the forward pass whose entropy is lowered, before the step.

Evidence: tests/test_streams.py (rate 0 is the source's model with batch statistics, bit for bit; one step equals a
transcription; nothing but gamma and beta moves).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamState, register
from dazoo.methods.test_time._moves import MovesNorms, descend
from dazoo.ops.entropy import entropy_of_logits


@register
class TENT(MovesNorms):
    """Test-time entropy minimisation."""

    paper = Paper(
        title="Tent: Fully Test-Time Adaptation by Entropy Minimization",
        authors="Dequan Wang, Evan Shelhamer, Shaoteng Liu, Bruno Olshausen, Trevor Darrell",
        year=2021, url="https://arxiv.org/abs/2006.10726", venue="International Conference on Learning Representations",
        deviations="all normalisations move, one-dimensional, layer and group ones too, where the authors' program "
        "moves those of pictures alone",
    )  # fmt: skip

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        out = self.answer(net, x)
        descend(state, entropy_of_logits(out.scores).mean())
        return out
