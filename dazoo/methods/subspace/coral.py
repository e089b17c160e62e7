"""CORAL: correlation alignment. Sun, Feng and Saenko, AAAI 2016.

The source is whitened with its own covariance and coloured with the target's:

    C_s = cov(X_s) + reg I,   C_t = cov(X_t) + reg I        (d, d)
    z_s = (x_s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t,      z_t = x_t

Evidence: tests/test_subspace.py::test_coral_gives_the_source_the_targets_covariance,
test_coral_equals_scipy_matrix_roots, test_surf_averages.
"""

from __future__ import annotations

from functools import reduce

from torch import matmul

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, mean_of, pair
from dazoo.methods.subspace._recolour import recoloured
from dazoo.shallow.steps import Affine


@register
class CORAL(FeatureMap):
    """Correlation alignment."""

    paper = Paper(
        title="Return of Frustratingly Easy Domain Adaptation", authors="Baochen Sun, Jiashi Feng, Kate Saenko",
        year=2016, url="https://arxiv.org/abs/1511.05547", venue="AAAI",
        deviations="aligns the means too: the paper standardises each domain beforehand, which leaves none to align; "
        "align_means=False is its x_s C_s^(-1/2) C_t^(1/2), which on features that are not centred turns the source's "
        "mean away from the target's; moments depend on class proportions, so it loses where these differ",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})
    on_disk = "both"

    reg: float = hp(1.0, 1e-4, 1e2, log=True, help="added to the diagonal of both covariances")
    align_means: bool = hp(True, help="also move the source's mean onto the target's; False is the paper's map")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Whiten and colour."""
        xs, xt = pair(seen)
        zs, roots = recoloured(seen, ctx, self.reg)  # x_s C_s^(-1/2) C_t^(1/2)
        bias = mean_of(xt) - reduce(matmul, roots, mean_of(xs)) if self.align_means else None
        steps = (*(Affine(root) for root in roots[:-1]), Affine(roots[-1], bias))
        return Aligned(zs if bias is None else zs + bias, (), steps)
