"""CORAL: correlation alignment. Sun, Feng and Saenko, AAAI 2016.

The source is whitened with its own covariance and coloured with the target's:

    C_s = cov(X_s) + reg I,   C_t = cov(X_t) + reg I        (d, d)
    z_s = x_s C_s^(-1/2) C_t^(1/2),      z_t = x_t

Source: https://arxiv.org/abs/1511.05547. Deviations: none; features are expected to be centred per domain, as in the
paper. ``align_means=True`` maps (x_s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t instead.

Evidence: tests/test_subspace.py::test_coral_gives_the_source_the_targets_covariance,
test_coral_equals_scipy_matrix_roots, test_surf_averages.
"""

from __future__ import annotations

from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.methods.steps import Affine
from dazoo.ops.linear import ridge_powers


@register
class Coral(FeatureMap):
    """See the module's docstring."""

    paper = Paper(
        "Return of Frustratingly Easy Domain Adaptation",
        "Baochen Sun, Jiashi Feng, Kate Saenko",
        2016,
        "https://arxiv.org/abs/1511.05547",
        "AAAI",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    targets = frozenset({"classes", "values"})
    reg: float = hp(1.0, 1e-4, 1e2, log=True, help="added to the diagonal of both covariances")
    align_means: bool = hp(False, help="also move the source's mean onto the target's")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Whiten and colour."""
        xs, xt = pair(seen)
        a = coral_map(seen, ctx, self.reg)
        step = Affine(a, xt.mean(0) - xs.mean(0) @ a if self.align_means else None)
        return Aligned(step(xs), (), (step,))


def coral_map(seen: Seen, ctx: Context, reg: float) -> Tensor:
    """C_s^(-1/2) C_t^(1/2) (d, d), once per pair and ``reg``."""
    xs, xt = pair(seen)
    return ctx.memo(("coral", reg), lambda: ridge_powers(xs, -0.5, xt, 0.5, reg))
