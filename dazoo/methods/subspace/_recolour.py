"""x C_s^(-1/2) C_t^(1/2), the map of CORAL, by the way that costs least; all ways give the same but for rounding."""

from __future__ import annotations

from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import moments_of, pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import Spectrum, ridge_powers, spectrum
from dazoo.shallow.steps import Affine, run_steps


def recoloured(seen: Seen, ctx: Context, reg: float) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The source x_s C_s^(-1/2) C_t^(1/2) (n_s, d), and the matrices (d, d) whose product is the map.

    One matrix pays where the source has more than twice as many samples as features; else the roots by turns, since
    either is a matter of one domain and serves all of its pairs, and C_t^(1/2) through its few eigenvectors where the
    target has few samples.
    """
    xs, xt = pair(seen)
    if len(xs) > 2 * xs.shape[1] or isinstance(xs, Blocks):
        a = coral_map(seen, ctx, reg)
        return run_steps((Affine(a),), xs), (a,)
    keep = ctx.memo.domains
    s, t = spectrum_of(seen, ctx, "s"), spectrum_of(seen, ctx, "t")
    whiten = keep(xs, "inverse root", lambda: s.power(reg, -0.5), reg)
    colour = keep(xt, "root", lambda: t.power(reg, 0.5), reg)
    white = keep(xs, "whitened", lambda: product(xs, whiten), reg)
    zs = product(white, colour) if 2 * len(t.values) >= xt.shape[1] else t.through(white, reg, 0.5)
    return zs, (whiten, colour)


def spectrum_of(seen: Seen, ctx: Context, side: str) -> Spectrum:
    """The spectrum of the covariance of ``side`` ``"s"`` or ``"t"``, once per domain."""
    xs, xt = pair(seen)
    x = xs if side == "s" else xt

    def make() -> Spectrum:
        return spectrum(x, moments_of(seen, ctx, side)[1] if len(x) >= x.shape[1] else None)

    if isinstance(x, Blocks):
        return ctx.memo(f"spectrum_{side}", make)
    return ctx.memo(f"spectrum_{side}", lambda: ctx.memo.domains(x, "spectrum", make))


def coral_map(seen: Seen, ctx: Context, reg: float) -> Tensor:
    """C_s^(-1/2) C_t^(1/2) (d, d), once per pair and ``reg``."""

    def make() -> Tensor:
        return ridge_powers(spectrum_of(seen, ctx, "s"), -0.5, spectrum_of(seen, ctx, "t"), 0.5, reg)

    return ctx.memo(("coral", reg), make)
