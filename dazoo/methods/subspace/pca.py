"""PCA of both domains together: the baseline of subspace methods. Pearson 1901.

    max_A tr(A' X H X' A)  subject to A' A = I,      z = A' (x - mean)
    X = [X_s, X_t] (d, n),  H = I - 11'/n,  A (d, k)

It is TCA without the term that compares the means of the domains.

The paper is a review of 2016. The default of 30 dimensions reproduces the published SURF row pair by pair.

Evidence: tests/test_subspace.py::test_pca_spans_what_scikit_learns_pca_spans, test_surf_averages.
"""

from __future__ import annotations

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, components, source_x
from dazoo.shallow.steps import Affine, run_steps


@register
class PCA(FeatureMap):
    """The baseline of subspace methods."""

    paper = Paper(
        title="Principal component analysis: a review and recent developments", authors="Ian T. Jolliffe, Jorge Cadima",
        year=2016, url="https://doi.org/10.1098/rsta.2015.0202",
        venue="Philosophical Transactions of the Royal Society A (Journal)",
        deviations="no gain at the defaults: a common subspace without adaptation, the baseline of subspace methods",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    dim: int = hp(30, 5, 100, log=True, help="dimensions of the common space")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The k directions of largest variance."""
        mean, _, directions = components(seen, ctx, "st", self.dim)
        step = Affine(directions, -mean @ directions)
        return Aligned(run_steps((step,), source_x(seen)), (step,))
