"""ERM over sources: what all labelled domains together say, each with the same weight. Vapnik, 1998.

    min_{F,C}  1/M sum_m 1/b sum_i loss(C(F(x_i^m)), y_i^m)

with batches of b samples (b, ...) of each of the M sources. ``source_only`` draws from the pool of all sources, so that
a large source counts more. The row that every method for unseen targets has to beat.

Evidence: tests/test_generalisation.py (even batches; at weight 0 irm, vrex, dg_coral, dg_dann, fishr are it).
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, Progress, register
from dazoo.methods.generalisation._sources import AnySources
from dazoo.nets.net import Net


@register
class ERM(AnySources):
    """Empirical risk minimisation over several sources."""

    paper = Paper(
        title="In Search of Lost Domain Generalization", authors="Ishaan Gulrajani, David Lopez-Paz", year=2021,
        url="https://arxiv.org/abs/2007.01434", venue="ICLR",
    )  # fmt: skip
    targets = frozenset({"classes", "values"})

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        return {"cls": net.criterion(net.head(net.body(b.xs)), b.ys)}
