"""Margin sampling: ask where two classes compete. Scheffer, Decomain, Wrobel, IDA 2001.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     the n rows of smallest p_i(1) - p_i(2),   the two largest of softmax(C(F(x_t,i))) (C,)

(x_a, y_a) are the target samples asked for so far.

Evidence: tests/test_active.py (rows equal a transcription).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net
from dazoo.ops.active import highest, margin


@register
class ActiveMargin(Active):
    """Labels of the target samples whose best two classes are closest."""

    paper = Paper(
        title="Active Hidden Markov Models for Information Extraction",
        authors="Tobias Scheffer, Christian Decomain, Stefan Wrobel", year=2001,
        url="https://doi.org/10.1007/3-540-44816-0_31", venue="IDA",
        deviations="the classifier is a network and no hidden Markov model; n samples per round",
    )  # fmt: skip

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        return rows[highest(-margin(at(look, rows)[1]), n)]
