"""Core-set: ask so that every target sample has a labelled one near it. Sener, Savarese, ICLR 2018.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     one after the other, argmax_i min_{j asked or chosen} |F(x_t,i) - F(x_t,j)|,   F(x) (width,)

(x_a, y_a) are the target samples asked for so far. This greedy k-centre covers at most twice as badly as the best n.

Evidence: tests/test_active.py (rows equal a transcription; the radius against the best set).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net
from dazoo.ops.active import k_centre


@register
class ActiveCoreset(Active):
    """Labels of target samples that cover the others."""

    paper = Paper(
        title="Active Learning for Convolutional Neural Networks: A Core-Set Approach",
        authors="Ozan Sener, Silvio Savarese", year=2018, url="https://arxiv.org/abs/1708.00489", venue="ICLR",
        deviations="the greedy solution, without the mixed integer programme; source samples, though labelled, cover "
        "no target sample; the first of all is the one nearest to the mean",
    )  # fmt: skip

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        return rows[k_centre(at(look, rows)[0], at(look, look.asked)[0], n)]
