"""Random questions: what every strategy has to beat.

    min_{F,C}  CE(C(F(x_s)), y_s) + few_weight * CE(C(F(x_a)), y_a)      from the source model
    asked:     rows of the target drawn evenly, n per round

(x_a, y_a) are the target samples asked for so far. The term of the source keeps what a few labels cannot teach.

Evidence: tests/test_active.py (budget, rounds, restarts; the full budget is the oracle's training).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from dazoo.core.paper import Paper
from dazoo.methods.active._active import Active
from dazoo.methods.base import Look, register
from dazoo.nets.net import Net


@register
class ActiveRandom(Active):
    """Labels of random target samples."""

    paper = Paper(
        title="Active Supervised Domain Adaptation",
        authors="Avishek Saha, Piyush Rai, Hal Daumé\u00a0III, Suresh Venkatasubramanian, Scott L. DuVall",
        year=2011, url="https://doi.org/10.1007/978-3-642-23808-6_7", venue="ECML PKDD",
        deviations="the baseline that the paper calls common practice, with a network instead of a linear classifier",
    )  # fmt: skip

    def pick(self, net: Net, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        return rows[torch.randperm(len(rows), generator=gen)[:n]]
