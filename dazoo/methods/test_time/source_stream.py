"""Source stream: the source's model as it is, batch after batch. What test-time adaptation starts from, and must beat.

    y(x) = C_0(F_0(x)),   F_0, C_0 = argmin source loss

every normalisation by the stored statistics; x (b, ...) is one batch of the stream.

Evidence: tests/test_streams.py (equals the source's model bit for bit, whatever the batch and the order).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.core.types import Prediction
from dazoo.methods.base import StreamMethod, StreamState, register


@register
class SourceStream(StreamMethod):
    """No adaptation of a fitted source model, on a stream."""

    paper = Paper(
        title="The Nature of Statistical Learning Theory", authors="Vladimir N. Vapnik", year=1995,
        url="https://doi.org/10.1007/978-1-4757-2440-0", venue="Springer (Book)",
    )  # fmt: skip
    family = "baseline"
    still = {}

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        return self.answer(net, x)
