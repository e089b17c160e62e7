"""Bases of shallow methods: a map of the features, or weights of the source samples, then the suite's classifier.

Several sources are pooled. Labelled target samples (the few-label setting) join the labelled source samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Labeled, Predictor, Seen
from dazoo.data.raw import joined
from dazoo.methods.base import Context, ShallowMethod
from dazoo.methods.on_disk import moments_on_disk
from dazoo.ops.linalg.blas import all_finite, product
from dazoo.ops.linalg.linear import Inner, distances_between, inner, mean_and_covariance, second_moment
from dazoo.ops.linalg.spectral import principal_components
from dazoo.ops.running import Running
from dazoo.shallow.classifiers import Classifier
from dazoo.shallow.heads_on_disk import fit_on_disk
from dazoo.shallow.steps import Head, Pipeline, Step, run_steps

T = TypeVar("T")
EFFECTIVE = 0.1


def source_of(seen: Seen) -> Labeled:
    """The labelled source; an error where the setting shows none."""
    if seen.source is None or len(seen.source) == 0:
        raise DazooError("this method learns from labelled source samples, but the task shows none")
    return seen.source


def source_x(seen: Seen) -> Tensor:
    """Source samples as rows (n_s, d), float64, or as they are on disk."""
    return rows_in(source_of(seen).x)


def rows_in(x: Tensor) -> Tensor:
    """Samples as rows (n, d), float64; what is on disk as it is."""
    return x if isinstance(x, Blocks) else x.flatten(1).to(torch.float64)


def target_x(seen: Seen) -> Tensor:
    """All visible target samples as rows (n_t, d), float64: the unlabelled ones, then the few labelled ones."""
    x = rows_in(seen.target.x)
    return x if seen.few is None else joined([x, rows_in(seen.few.x)])


def pair(seen: Seen) -> tuple[Tensor, Tensor]:
    """``source_x`` and ``target_x``, checked to have the same number of features."""
    xs, xt = sides(seen)
    if xs.shape[1] != xt.shape[1]:
        raise DazooError(f"source samples have {xs.shape[1]} features, target samples {xt.shape[1]}; they must agree")
    return xs, xt


def sides(seen: Seen) -> tuple[Tensor, Tensor]:
    """``source_x`` (n_s, d_s) and ``target_x`` (n_t, d_t), whose features need have nothing in common."""
    xs, xt = source_x(seen), target_x(seen)
    if len(xt) == 0:
        raise DazooError("the task shows no target samples")
    return xs, xt


def moments(seen: Seen, ctx: Context) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mean and covariance of source and of target, computed once per pair."""
    return moments_of(seen, ctx, "s"), moments_of(seen, ctx, "t")


def moments_of(seen: Seen, ctx: Context, side: str) -> tuple[Tensor, Tensor]:
    """Mean and covariance of ``side`` ``"s"`` or ``"t"``, computed once per domain."""
    xs, xt = pair(seen)
    x = xs if side == "s" else xt
    if isinstance(x, Blocks):
        found = moments_on_disk(x)
        return found.mean, found.covariance
    return ctx.memo(f"moments_{side}", lambda: ctx.memo.domains(x, "moments", lambda: mean_and_covariance(x)))


def mean_of(x: Tensor) -> Tensor:
    """The mean (d,) of samples (n, d), in memory or on disk."""
    return moments_on_disk(x).mean if isinstance(x, Blocks) else x.mean(dim=0)


def principal(x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """``principal_components`` of samples (n, d), in memory or on disk."""
    if not isinstance(x, Blocks):
        return principal_components(x, k)
    found = moments_on_disk(x)
    return principal_components(x, k, (found.mean, found.covariance))


def components(seen: Seen, ctx: Context, side: str, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """PCA (mean, variances, directions) of ``side`` ``"s"``, ``"t"`` or ``"st"`` (pooled), once per domain and k."""
    xs, xt = pair(seen)
    if isinstance(xs, Blocks) and isinstance(xt, Blocks):
        both = {"s": [xs], "t": [xt], "st": [xs, xt]}[side]
        found = reduce(Running.merged, map(moments_on_disk, both))
        return principal_components(joined(both), k, (found.mean, found.covariance))
    if side == "st":
        return ctx.memo(("pca", side, k), lambda: principal_components(torch.cat([xs, xt]), k))
    x = xs if side == "s" else xt

    def make() -> tuple[Tensor, Tensor, Tensor]:
        tall = len(x) >= x.shape[1]
        return principal_components(x, k, moments_of(seen, ctx, side) if tall else None)

    return ctx.memo(("pca", side, k), lambda: ctx.memo.domains(x, ("pca", k), make))


def costs(seen: Seen, ctx: Context) -> Tensor:
    """Squared Euclidean distances (n_s, n_t) of source and target, once per pair. Not to be changed in place."""
    xs, xt = pair(seen)
    return ctx.memo("costs", lambda: distances_between(xs, xt))


def source_inner(seen: Seen, ctx: Context, fits: int = 1) -> Inner | None:
    """Inner products of the source samples, once per domain; None for a single fit whose memo no other run shares, and
    where they would be large."""
    xs = source_x(seen)
    size = 8 * (len(xs) ** 2 + xs.shape[1])
    if (not ctx.memo.shared and fits == 1) or size > ctx.memo.domains.limit:
        return None
    return ctx.memo.domains(xs, "inner", lambda: inner(xs))


def inner_of(seen: Seen, ctx: Context, fits: int = 1) -> Inner | None:
    """``source_inner``, followed by the labelled target samples where there are some, once per pair."""
    own, few = source_inner(seen, ctx, fits), seen.few
    if own is None or few is None:
        return own
    return ctx.memo("inner", lambda: extended(own, source_x(seen), few.x.flatten(1).to(own.centre) - own.centre))


def extended(own: Inner, xs: Tensor, more: Tensor) -> Inner:
    """``own`` of the samples ``xs`` (n, d), with the samples ``more`` (m, d), from which its centre is taken off."""
    n = len(xs)
    gram = xs.new_empty(n + len(more), n + len(more))
    gram[:n, :n], gram[n:, n:] = own.gram, second_moment(more.T)
    gram[:n, n:] = product(xs - own.centre, more.T)
    gram[n:, :n] = gram[:n, n:].T
    return Inner(own.centre, gram)


def labelled(seen: Seen, zs: Tensor, few_z: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Features and labels to learn from: the source's, and the few target samples' mapped by ``few_z``."""
    y = source_of(seen).y
    if seen.few is None:
        return zs, y
    return joined([zs, few_z(seen.few.x)]), torch.cat([y, seen.few.y.to(y)])


@dataclass(frozen=True)
class Aligned:
    """What ``FeatureMap.align`` returns."""

    zs: Tensor  # mapped source samples (n_s, k), in the order of ``seen.source``
    target_steps: tuple[Step, ...]  # the map of target samples
    source_steps: tuple[Step, ...] | None = None  # the map of source samples; None where it is the target's
    weights: Tensor | None = None  # of the source samples (n_s,)
    known: Callable[[], Inner | None] | None = None  # inner products of the mapped samples that several fits share


class FeatureMap(ShallowMethod):
    """A method that maps both domains into one space and trains the classifier on the mapped source."""

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Find the maps."""
        raise NotImplementedError(f"{self.name} does not define align")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Align, then train ``ctx.classifier``."""
        return finished(self.name, seen, ctx, self.align(seen, ctx))


class Reweighting(ShallowMethod):
    """A method that weights the source samples and trains the classifier on them, in the original space."""

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """Weights (n_s,), not negative; their scale does not matter."""
        raise NotImplementedError(f"{self.name} does not define weights")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Weigh, then train ``ctx.classifier``."""
        xs, _ = pair(seen)
        weights = self.weights(seen, ctx)
        return finished(self.name, seen, ctx, Aligned(xs, (), None, weights, lambda: inner_of(seen, ctx)))


def finished(name: str, seen: Seen, ctx: Context, aligned: Aligned) -> Pipeline:
    """The maps of the method ``name``, and ``ctx.classifier`` trained on the mapped labelled samples.

    Raises:
        DazooError: there is nothing to learn from: no direction is left, or maps or weights are not finite.
    """
    if aligned.zs.shape[1] == 0:
        raise DazooError(f"{name}: no direction is left to map the samples to; do the features vary at all?")
    for what, found in (("mapped source holds", aligned.zs), ("weights hold", aligned.weights)):
        if found is not None and not isinstance(found, Blocks) and not all_finite(found):
            raise NonFiniteError(f"{name}: the {what} NaN or infinite values; check the features' scale")
    z, y = labelled(seen, aligned.zs, lambda x: run_steps(aligned.target_steps, x))
    weights = None if aligned.weights is None else usable(name, seen, ctx, aligned.weights)
    head = fit_classifier(seen, ctx, z, y, weights, aligned.known)
    return Pipeline(aligned.target_steps, aligned.source_steps, head)


def usable(name: str, seen: Seen, ctx: Context, weights: Tensor) -> Tensor:
    """``weights`` (n_s,) of source samples, or equal ones where they leave nothing to learn from; warnings say so, and
    where the effective sample size (sum w)^2 / sum w^2 is below ``EFFECTIVE`` of all samples.
    """
    source, n = source_of(seen), len(weights)
    left = source.y[weights > 0]
    kinds = left if seen.few is None else torch.cat([left, seen.few.y.to(left)])
    if len(left) == 0 or (not seen.regression and len(torch.unique(kinds)) < 2):
        ctx.warn(
            f"{name}: its weights leave {'no sample' if len(left) == 0 else 'a single class'}, so the source is left "
            "as it is; the assumption behind them (the same classes, overlapping domains) does not hold here"
        )
        return torch.ones_like(weights)
    scaled = weights / weights.max()
    size = float(scaled.sum().square() / scaled.square().sum())
    if size < EFFECTIVE * n:
        ctx.warn(
            f"{name}: {n} source samples weigh no more than {size:.1f} equal ones (effective sample size below "
            f"{EFFECTIVE:.0%}), so a few decide; the domains overlap too little for weights: use fewer features "
            "(principal components), or a method that moves features"
        )
    return weights


def fit_classifier(
    seen: Seen,
    ctx: Context,
    z: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    known: Callable[[], Inner | None] | None = None,
) -> Head:
    """``ctx.classifier`` fitted on ``z``; few target samples at its end weigh 1, source samples 1 on average."""
    if weights is not None:
        n_s = len(source_of(seen))
        if len(weights) != n_s:
            raise DazooError(f"{len(weights)} weights for {n_s} source samples")
        total = weights.sum()
        if not bool(total > 0):
            raise DazooError("all sample weights are zero; no source sample is left to learn from")
        scaled = torch.ones_like(weights) if bool((weights == weights[0]).all()) else weights * (n_s / total)
        weights = torch.cat([scaled, scaled.new_ones(len(z) - n_s)])
    return trained(seen, ctx, z, y, weights, known)


def trained(
    seen: Seen,
    ctx: Context,
    z: Tensor,
    y: Tensor,
    weights: Tensor | None = None,
    known: Callable[[], Inner | None] | None = None,
) -> Head:
    """``ctx.classifier`` fitted on ``z`` (n, d) with ``weights`` (n,) as they are; ``known`` as in ``Classifier.fit``,
    which other classifiers need not take."""
    if isinstance(z, Blocks):
        return fit_on_disk(ctx.classifier, z, y, seen.n_classes, weights, ctx.gen, ctx.warn, ctx.sample)
    more = {"known": known} if isinstance(ctx.classifier, Classifier) else {}
    head: Head = ctx.classifier.fit(z, y, seen.n_classes, weights=weights, gen=ctx.gen, warn=ctx.warn, **more)
    return head
