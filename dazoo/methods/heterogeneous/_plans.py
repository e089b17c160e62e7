"""What methods share that move the source along a plan between samples of different feature spaces."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context
from dazoo.methods.on_disk import sampled
from dazoo.methods.shallow import Aligned, FeatureMap, sides, source_of
from dazoo.methods.transport._plan import back, barycentric
from dazoo.ops.linalg.blas import all_finite
from dazoo.ops.linalg.linear import distances_between
from dazoo.shallow.steps import NearestImage

MOST = 4000
DRAWN = 2000  # samples of each domain that stand for more than can be compared


class MovedAcross(FeatureMap):
    """A method that moves every source sample to the barycentre, in the target's space, of where a plan sends its mass.

    The target stays as it is. New source samples go where their nearest training sample went.
    """

    def plan(self, xs: Tensor, xt: Tensor, seen: Seen, ctx: Context) -> Tensor:
        """The transport plan (n_s, n_t) of samples whose spread is 1."""
        raise NotImplementedError(f"{self.name} does not define plan")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Move the source, or of more than ``MOST`` samples as many as can be compared, then train the classifier."""
        many = max(map(len, sides(seen))) > MOST
        return super().fit(drawn(seen, ctx, self.name, DRAWN) if many else seen, ctx)

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Move the source."""
        xs, xt = sides(seen)
        for what, x in (("source", xs), ("target", xt)):
            if max(x.shape) > MOST:
                raise DazooError(
                    f"{self.name} compares all pairs, and the {what} is {x.shape[0]} samples of {x.shape[1]} features; "
                    f"beyond {MOST} draw a subsample, keep principal components, or take linear_gw"
                )
        plan = self.plan(spread_one(xs, self.name), spread_one(xt, self.name), seen, ctx)
        zs = barycentric(plan, xt)
        return Aligned(zs, (), (NearestImage(xs, zs),))


def drawn(seen: Seen, ctx: Context, name: str, count: int) -> Seen:
    """``count`` samples of each domain, of which at least one of every class, and a warning."""
    numbers = " + ".join(f"{len(x):,}" for x in sides(seen))
    ctx.warn(f"{name}: compares all pairs, so {count:,} samples of each domain, drawn at random, stand for {numbers}")
    return sampled(seen, count, ctx.gen)


def spread_one(x: Tensor, name: str) -> Tensor:
    """``x`` divided by its root mean square, so that units of the two spaces do not enter."""
    size = x.abs().max()
    if not all_finite(x) or not bool(size > 0):
        raise NonFiniteError(f"{name}: a domain is zero, or holds NaN or infinite values; check the features' scale")
    x = x / size
    return x / x.square().mean().sqrt()


def forbidden(seen: Seen, n_t: int) -> Tensor | None:
    """Pairs (n_s, n_t) of 1 where a source sample meets a labelled target sample of another class, else 0; None where
    no target label is shown."""
    if seen.few is None:
        return None
    y = source_of(seen).y
    out = torch.zeros(len(y), n_t, dtype=torch.float64)
    out[:, n_t - len(seen.few) :] = (y[:, None] != seen.few.y[None, :]).to(out)
    return out


def distance_matrix(x: Tensor, name: str) -> Tensor:
    """Euclidean distances (n, n), the largest 1."""
    d = distances_between(x, x).sqrt().fill_diagonal_(0)
    top = d.max()
    if not bool(top > 0) or not bool(torch.isfinite(top)):
        raise NonFiniteError(f"{name}: all samples of a domain are the same, or too large to be compared")
    return d / top


def entropic_gw_plan(ds: Tensor, dt: Tensor, wrong: Tensor | None, guide: float, reg: float, rounds: int) -> Tensor:
    """The plan (n_s, n_t) of ``entropic_gw`` for distances ``ds`` (n_s, n_s), ``dt`` (n_t, n_t) and pairs ``wrong``.

    Sinkhorn steps that stop before they converge are steps of the outer iteration all the same.
    """
    from ot import gromov

    how: dict[str, Any] = {"symmetric": True, "epsilon": reg, "max_iter": rounds, "tol": 1e-6, "numItermax": 200}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if wrong is None:
            found = gromov.entropic_gromov_wasserstein(ds.numpy(), dt.numpy(), **how)
        else:
            how["alpha"] = 1 / (1 + guide)
            found = gromov.entropic_fused_gromov_wasserstein(wrong.numpy(), ds.numpy(), dt.numpy(), **how)
    return back(torch.from_numpy(found), ds)


def with_even_marginals(plan: Tensor) -> Tensor:
    """The plan (n, m) moved to uniform marginals: rows and columns that have too much are scaled down, and what is
    missing is spread over what lacks it. Altschuler, Weed, Rigollet, NeurIPS 2017, https://arxiv.org/abs/1705.09634"""
    n, m = plan.shape
    plan = plan * (1 / n / plan.sum(1, keepdim=True).clamp(min=1e-300)).clamp(max=1)
    plan = plan * (1 / m / plan.sum(0, keepdim=True).clamp(min=1e-300)).clamp(max=1)
    rows, columns = 1 / n - plan.sum(1), 1 / m - plan.sum(0)
    missing = rows.sum()
    return plan if not bool(missing > 0) else plan + rows[:, None] * columns / missing
