"""Common PCA: each domain's own principal components, taken for a common space. A baseline.

    z_s = U_s' (x_s - mean_s) / |.|,   z_t = U_t' (x_t - mean_t) / |.|       U_s (d_s, k), U_t (d_t, k)

with the k leading directions of each domain by itself, scaled so that samples have norm 1 on average. That the first
component of one is the first of the other is assumed and not found out, so whatever labels the target has must tell.
``then`` names a shallow method that adapts in the common space.

Evidence: tests/test_heterogeneous.py::test_common_width_equals_the_method_on_mapped_samples.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.methods.base import Context, register
from dazoo.methods.heterogeneous._common import CommonWidth
from dazoo.methods.heterogeneous._maps import components_of
from dazoo.shallow.steps import Step


@register
class CommonPCA(CommonWidth):
    """Principal components of each domain, to a common width."""

    paper = Paper(
        title="Principal component analysis: a review and recent developments", authors="Ian T. Jolliffe, Jorge Cadima",
        year=2016, url="https://doi.org/10.1098/rsta.2015.0202",
        venue="Philosophical Transactions of the Royal Society A (Journal)",
        deviations="no gain at the defaults: a baseline, whose components are paired by their order alone",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"}, spaces="own")

    toy_hparams: ClassVar[dict[str, Any]] = {"dim": 2}

    def maps(self, xs: Tensor, xt: Tensor, ctx: Context) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """As many components of each as both have."""
        dim = self.dim
        for _ in range(2):  # the second time, the rank of the first is the limit
            of_source, of_target = (components_of(x, dim) for x in (xs, xt))
            dim = min(of_source.weight.shape[1], of_target.weight.shape[1])
        return (of_source,), (of_target,)
