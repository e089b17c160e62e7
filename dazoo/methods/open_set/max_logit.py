"""Max-logit: source-only, unknown where no class has a large score. Hendrycks et al., ICML 2022.

    min_{F,C}  CE(C(F(x_s)), y_s)
    unknown(x) = -max_c C(F(x))_c,     above the middle between the centres of the best two clusters of the target's

Unlike the maximum of the softmax it keeps how large the scores are, not only how they compare.

Evidence: tests/test_open_set.py (the score; the threshold splits the target's scores in two).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.open_set._scored import ScoredSource
from dazoo.nets.net import Net


@register
class MaxLogit(ScoredSource):
    """Source only, with the largest score as what is known."""

    paper = Paper(
        title="Scaling Out-of-Distribution Detection for Real-World Settings",
        authors="Dan Hendrycks, Steven Basart, Mantas Mazeika, Andy Zou, Joseph Kwon, Mohammadreza Mostajabi, Jacob "
        "Steinhardt, Dawn Song",
        year=2022, venue="ICML", url="https://arxiv.org/abs/1911.11132",
        deviations="the paper ranks samples and sets no threshold; here the target's scores are split in two",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    def unknown(self, net: Net, scores: Tensor, f: Tensor) -> Tensor:
        return -scores.amax(1)
