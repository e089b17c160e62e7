"""Nearest-neighbour weighting. Loog, MLSP 2012.

A source sample weighs as much as there are target samples in its Voronoi cell, with Laplace smoothing:

    w_i = smoothing + #{ j : argmin_k ||x_t,j - x_s,k|| = i }

No density is estimated and nothing is tuned. Ties go to the lower row.

``smoothing`` is 1 in the paper.

Evidence: tests/test_reweighting.py::test_neighbour_counts_equal_scikit_learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Reweighting, pair
from dazoo.shallow.steps import nearest_rows


@register
class NearestNeighborWeighting(Reweighting):
    """Nearest-neighbour weighting."""

    paper = Paper(
        title="Nearest neighbor-based importance weighting", authors="Marco Loog", year=2012,
        url="https://doi.org/10.1109/MLSP.2012.6349714",
        venue="IEEE International Workshop on Machine Learning for Signal Processing",
    )  # fmt: skip
    growth = 1.5
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    smoothing: float = hp(1.0, 0.0, 10.0, help="added to every count")

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """Smoothed counts."""

        def make() -> Tensor:
            xs, xt = pair(seen)
            return torch.bincount(nearest_rows(xt, xs, 1)[:, 0], minlength=len(xs)).to(xs)

        return ctx.memo("voronoi", make) + self.smoothing
