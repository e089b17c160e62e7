"""CORAL: correlation alignment. Sun, Feng and Saenko, AAAI 2016.

The source is whitened with its own covariance and coloured with the target's:

    C_s = cov(X_s) + reg I,   C_t = cov(X_t) + reg I        (d, d)
    z_s = (x_s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t,      z_t = x_t

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
from dazoo.methods.shallow import Aligned, FeatureMap, moments_of, pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import Spectrum, ridge_powers, spectrum
from dazoo.shallow.steps import Affine


@register
class CORAL(FeatureMap):
    """Correlation alignment."""

    paper = Paper(
        title="Return of Frustratingly Easy Domain Adaptation",
        authors="Baochen Sun, Jiashi Feng, Kate Saenko",
        year=2016,
        url="https://arxiv.org/abs/1511.05547",
        venue="AAAI",
        deviations="aligns the means too: the paper standardises each domain beforehand, which leaves none to align; "
        "align_means=False is its x_s C_s^(-1/2) C_t^(1/2), which on features that are not centred turns the source's "
        "mean away from the target's; moments depend on class proportions, so it loses where these differ",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    targets = frozenset({"classes", "values"})
    reg: float = hp(1.0, 1e-4, 1e2, log=True, help="added to the diagonal of both covariances")
    align_means: bool = hp(True, help="also move the source's mean onto the target's; False is the paper's map")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Whiten and colour."""
        xs, xt = pair(seen)
        if len(xs) > 2 * xs.shape[1]:
            a = coral_map(seen, ctx, self.reg)
            step = Affine(a, xt.mean(0) - xs.mean(0) @ a if self.align_means else None)
            return Aligned(step(xs), (), (step,))
        # by turns, since either root is a matter of one domain and serves all of its pairs
        keep, reg = ctx.memo.domains, self.reg
        s, t = spectrum_of(seen, ctx, "s"), spectrum_of(seen, ctx, "t")
        whiten = keep(xs, "inverse root", lambda: s.power(reg, -0.5), reg)
        colour = keep(xt, "root", lambda: t.power(reg, 0.5), reg)
        white = keep(xs, "whitened", lambda: product(xs, whiten), reg)
        zs = product(white, colour) if 2 * len(t.values) >= xt.shape[1] else t.through(white, reg, 0.5)
        bias = xt.mean(0) - xs.mean(0) @ whiten @ colour if self.align_means else None
        return Aligned(zs if bias is None else zs + bias, (), (Affine(whiten), Affine(colour, bias)))


def spectrum_of(seen: Seen, ctx: Context, side: str) -> Spectrum:
    """The spectrum of the covariance of ``side`` ``"s"`` or ``"t"``, once per domain."""
    xs, xt = pair(seen)
    x = xs if side == "s" else xt

    def make() -> Spectrum:
        return spectrum(x, moments_of(seen, ctx, side)[1] if len(x) >= x.shape[1] else None)

    return ctx.memo(f"spectrum_{side}", lambda: ctx.memo.domains(x, "spectrum", make))


def coral_map(seen: Seen, ctx: Context, reg: float) -> Tensor:
    """C_s^(-1/2) C_t^(1/2) (d, d), once per pair and ``reg``."""

    def make() -> Tensor:
        return ridge_powers(spectrum_of(seen, ctx, "s"), -0.5, spectrum_of(seen, ctx, "t"), 0.5, reg)

    return ctx.memo(("coral", reg), make)
