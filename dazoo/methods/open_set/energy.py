"""Energy: source-only, unknown where the free energy of the scores is high. Liu, Wang, Owens, Li, NeurIPS 2020.

    min_{F,C}  CE(C(F(x_s)), y_s)
    unknown(x) = -log sum_c exp(C(F(x))_c),     above the middle between the centres of the best two clusters of the
                                                target's

Evidence: tests/test_open_set.py (the score; the threshold splits the target's scores in two).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import register
from dazoo.methods.open_set._scored import ScoredSource
from dazoo.nets.net import Net


@register
class Energy(ScoredSource):
    """Source only, with the free energy as score of being unknown."""

    paper = Paper(
        title="Energy-based Out-of-distribution Detection",
        authors="Weitang Liu, Xiaoyun Wang, John D. Owens, Yixuan Li",
        year=2020, venue="NeurIPS", url="https://arxiv.org/abs/2010.03759",
        deviations="temperature 1; the paper accepts 95 % of source samples, here the target's scores are split in "
        "two; no fine-tuning with outliers",
    )  # fmt: skip
    handles = Handles(labels={"closed", "partial", "open", "universal"}, n_sources={"one", "many"})

    def unknown(self, net: Net, scores: Tensor, f: Tensor) -> Tensor:
        return -torch.logsumexp(scores, 1)
