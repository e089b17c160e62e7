"""BADGE: ask where the gradient would be long, and for gradients of many directions. Ash et al., ICLR 2020.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     k-means++ seeds of  g_i = (p_i - onehot(argmax p_i)) F(x_t,i)^T  (C, width),   p_i = softmax(C(F(x_t,i)))

g_i is the gradient of the head as if the predicted label were true. The first seed is the longest g, each further one
is drawn with probability ~ its squared distance to the nearest seed. (x_a, y_a) are the samples asked for so far.

Evidence: tests/test_active.py (distances equal those of explicit gradients; the order of seeds).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net
from dazoo.ops import active


@register
class BADGE(Active):
    """Batch active learning by diverse gradient embeddings."""

    paper = Paper(
        title="Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds",
        authors="Jordan T. Ash, Chicheng Zhang, Akshay Krishnamurthy, John Langford, Alekh Agarwal", year=2020,
        url="https://arxiv.org/abs/1906.03671", venue="ICLR",
        deviations="the model goes on from round to round and keeps the source, where the paper trains anew on the "
        "labels asked for",
    )  # fmt: skip

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        features, scores = at(look, rows)
        return rows[active.badge(scores, features, n, gen)]
