"""Entropy sampling: ask where the classifier is least sure. Settles, 2009.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     the n rows of largest H(p_i),   p_i = softmax(C(F(x_t,i))) (C,)

(x_a, y_a) are the target samples asked for so far.

Evidence: tests/test_active.py (rows equal a transcription).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net
from dazoo.ops.active import highest
from dazoo.ops.entropy import entropy_of_logits


@register
class ActiveEntropy(Active):
    """Labels of the target samples with the most uncertain prediction."""

    paper = Paper(
        title="Active Learning Literature Survey", authors="Burr Settles", year=2009,
        url="https://minds.wisconsin.edu/handle/1793/60660", venue="University of Wisconsin-Madison (Report)",
        deviations="n samples per round by one model, where the survey asks for one and learns",
    )  # fmt: skip

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        return rows[highest(entropy_of_logits(at(look, rows)[1]), n)]
