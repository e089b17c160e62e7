"""Random projection: each domain by a random matrix to a common width. Bingham and Mannila, KDD 2001. A baseline.

    z_s = R_s' (x_s - mean_s) / |.|,   z_t = R_t' (x_t - mean_t) / |.|       R_s (d_s, k), R_t (d_t, k) standard normal

scaled so that samples have norm 1 on average. Distances within each domain survive (Johnson and Lindenstrauss), and no
coordinate of one means anything for the other, so nothing is transferred but what labelled target samples tell: the
floor that every method for different spaces has to beat. ``then`` names a shallow method that adapts in the common
space.

Evidence: tests/test_heterogeneous.py::test_common_width_equals_the_method_on_mapped_samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import Context, register
from dazoo.methods.heterogeneous._common import CommonWidth
from dazoo.shallow.steps import Affine, Step


@register
class RandomProjection(CommonWidth):
    """Random projections to a common width."""

    paper = Paper(
        title="Random projection in dimensionality reduction: Applications to image and text data",
        authors="Ella Bingham, Heikki Mannila", year=2001, url="https://doi.org/10.1145/502512.502546", venue="KDD",
        deviations="no gain at the defaults: a baseline, whose coordinates have nothing in common",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"}, spaces="own")

    def maps(self, xs: Tensor, xt: Tensor, ctx: Context) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """Drawn from the run's generator, the source's first."""
        return tuple((self._drawn(x, ctx),) for x in (xs, xt))  # type: ignore[return-value]

    def _drawn(self, x: Tensor, ctx: Context) -> Affine:
        mean = x.mean(0)
        weight = torch.randn(x.shape[1], self.dim, generator=ctx.gen, dtype=torch.float64).to(x)
        size = ((x - mean) @ weight).square().sum(1).mean().sqrt()
        if not bool(size > 0):
            raise DazooError(f"{self.name}: a domain does not vary at all; its samples carry nothing to adapt")
        weight = weight / size
        return Affine(weight, -mean @ weight)
