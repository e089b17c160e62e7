"""What the density-ratio methods share: flattened ratios, kernel centres and bandwidths."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import pair
from dazoo.ops.linalg.linear import distances_between, median_gamma

GRID = tuple(10.0 ** (k / 4) for k in range(-4, 5))
SAMPLE = 1000


def flattened(log_ratio: Tensor, power: float) -> Tensor:
    """exp(power (l - max l)) (n,) of log density ratios ``l``: the largest weight is 1, so nothing overflows."""
    return torch.exp(power * (log_ratio - log_ratio.max()))


def median_sigma(seen: Seen, ctx: Context) -> Tensor:
    """The median distance of pooled source and target samples, at most ``SAMPLE`` evenly spaced rows of each."""

    def make() -> Tensor:
        xs, xt = pair(seen)
        some = [x[:: max(1, -(-len(x) // SAMPLE))].to(torch.float64) for x in (xs, xt)]
        return median_gamma(torch.cat(some)).rsqrt()

    return ctx.memo("median_sigma", make)


def centre_rows(xt: Tensor, count: int, ctx: Context) -> Tensor | None:
    """``count`` rows of target samples drawn without replacement, or None, for all, where there are no more."""
    if len(xt) <= count:
        return None
    rows = torch.randperm(len(xt), generator=ctx.gen)[:count]
    return rows if isinstance(xt, Blocks) else rows.to(xt.device)


def centres(xt: Tensor, count: int, ctx: Context) -> Tensor:
    """``count`` target samples drawn without replacement, or all of them in their order where there are no more."""
    rows = centre_rows(xt, count, ctx)
    return xt[:] if rows is None and isinstance(xt, Blocks) else xt if rows is None else xt[rows]


class Bumps:
    """Squared distances of both domains to the centres (m, d), turned into Gaussian kernels of any width.

    At most ``limit`` bytes of kernels are kept for a second look at their width.
    """

    def __init__(self, xs: Tensor, xt: Tensor, at: Tensor, limit: int = 0):
        offset = at.mean(0)
        self.s, self.t = (distances_between(x - offset, at - offset) for x in (xs, xt))
        self.room = limit // (self.s.nbytes + self.t.nbytes)
        self._kept: dict[float, tuple[Tensor, Tensor]] = {}

    def __call__(self, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """exp(-||x - c||^2 / (2 sigma^2)): (n_s, m) and (n_t, m). Not to be changed in place."""
        known = self._kept.get(float(sigma))
        if known is not None:
            return known
        made = torch.exp(self.s / (-2 * sigma**2)), torch.exp(self.t / (-2 * sigma**2))
        if len(self._kept) < self.room:
            self._kept[float(sigma)] = made
        return made


def folds(n: int, k: int, ctx: Context) -> Tensor:
    """A random fold index (n,) in 0 ... k-1, folds of equal size up to one."""
    return torch.randperm(n, generator=ctx.gen) % k
