"""CLUE: ask for the middle of clusters in which the classifier is unsure. Prabhu et al., ICCV 2021.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     the nearest F(x_t,i) to each of n centroids mu:
               min_mu sum_i H(p_i) min_k |F(x_t,i) - mu_k|^2,   p_i = softmax(C(F(x_t,i)) / temperature) (C,)

A weighted k-means: uncertain samples pull centroids, and clusters keep them apart. (x_a, y_a) are the target samples
asked for so far.

Evidence: tests/test_active.py (rows of clear clusters), tests/test_parity.py (active_clue_weights).
"""

from __future__ import annotations

from torch import Generator, Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active, at
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net
from dazoo.ops import active


@register
class CLUE(Active):
    """Clustering uncertainty-weighted embeddings."""

    paper = Paper(
        title="Active Domain Adaptation via Clustering Uncertainty-weighted Embeddings",
        authors="Viraj Prabhu, Arjun Chandrasekaran, Kate Saenko, Judy Hoffman", year=2021,
        url="https://arxiv.org/abs/2010.08666", venue="ICCV",
        deviations="trained on labelled samples of both domains, where the authors' program adds the unlabelled ones "
        "by MME; the temperature is that of digits (DomainNet: 0.1)",
    )  # fmt: skip

    temperature: float = hp(1.0, 0.1, 1.0, log=True, help="of the probabilities that weigh samples", positive=True)

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        features, scores = at(look, rows)
        return rows[active.clue(scores, features, n, self.temperature, gen)]
