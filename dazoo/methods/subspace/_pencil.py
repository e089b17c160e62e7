"""What TCA, JDA and their relatives share: the coordinates of the eigenproblem and the way back to samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.on_disk import moments_on_disk, sampled
from dazoo.methods.shallow import Aligned, mean_of, pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import gram, median_gamma, second_moment, unit_rows
from dazoo.ops.linalg.spectral import low_rank_pencil, low_rank_pencil_of_rows, span, unit_columns
from dazoo.shallow.steps import Affine, KernelMap, Step, UnitNorm, run_steps

KERNEL_LIMIT = 20_000


@dataclass(frozen=True)
class Problem:
    """Both domains in the r coordinates in which the eigenproblem is solved.

    Attributes:
        xs, xt: coordinates (n_s, r) and (n_t, r): the features, their span where n < d, or rows of the kernel matrix.
        before: steps from samples to features.
        basis: (d, r) from features to coordinates, None for the identity.
        anchors, gamma: of the RBF kernel, else None.
        whole: of a sample of the domains, the problem of all samples, whose scatter is taken; these are ``times`` as
            many.
    """

    xs: Tensor
    xt: Tensor
    before: tuple[Step, ...]
    basis: Tensor | None = None
    anchors: Tensor | None = None
    gamma: Tensor | None = None
    whole: Problem | None = None
    times: float = 1.0

    @cached_property
    def scatter(self) -> Tensor:
        """X H X' (r, r), the scatter of both domains around their common mean."""
        if self.whole is not None:
            return self.whole.scatter
        if isinstance(self.xs, Blocks) and isinstance(self.xt, Blocks):
            return moments_on_disk(self.xs).merged(moments_on_disk(self.xt)).scatter
        mean = (self.xs.sum(0) + self.xt.sum(0)) / (len(self.xs) + len(self.xt))
        return second_moment(self.xs - mean) + second_moment(self.xt - mean)

    @property
    def few(self) -> bool:
        """Whether there are fewer samples than coordinates, so that a problem between samples is the smaller one."""
        return len(self.xs) + len(self.xt) < self.xs.shape[1]

    def centred(self) -> Tensor:
        """The samples of both domains minus their common mean (n_s + n_t, r)."""
        both = torch.cat([self.xs, self.xt])
        return both - both.mean(0)

    def leading(self, factor: Tensor, ridge: float, k: int) -> Tensor:
        """Unit-norm a (r, k) of the largest l in X H X' a = l (factor factor' + ridge I) a, ``factor`` (r, m)."""
        if self.few:
            return unit_columns(low_rank_pencil_of_rows(self.centred(), factor, ridge, k)[1])
        return unit_columns(low_rank_pencil(self.scatter, factor, ridge, k)[1])

    def project(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The training samples of both domains in the space that ``vectors`` (r, k) span, (n_s, k) and (n_t, k), scaled
        to norm 1."""
        return unit_rows(product(self.xs, vectors)), unit_rows(product(self.xt, vectors))

    def aligned(self, vectors: Tensor) -> Aligned:
        """What ``FeatureMap.align`` returns for these ``vectors`` (r, k)."""
        if self.anchors is not None and self.gamma is not None:
            step: Step = KernelMap("rbf", self.anchors, vectors, self.gamma)
        else:
            step = Affine(vectors if self.basis is None else product(self.basis, vectors))
        zs = run_steps((Affine(vectors), UnitNorm()), self.xs)
        return Aligned(zs, (*self.before, step, UnitNorm()))


def pencil_of(seen: Seen, ctx: Context, kernel: str, unit_norm: bool, spanned: bool = True) -> Problem:
    """The eigenproblem of a pair, built once per kernel and normalisation.

    ``spanned``: whether far fewer samples than features are given by coordinates in their span, which pays where many
    problems are solved.

    Raises:
        DazooError: a kernel matrix of more than ``KERNEL_LIMIT`` samples is asked for.
    """

    def make() -> Problem:
        xs, xt, before = ctx.memo(("samples", unit_norm), lambda: _samples(seen, unit_norm))
        if kernel == "linear":
            # a few leading directions are cheap in all features; the span pays where it is much smaller
            basis = span(torch.cat([xs, xt])) if spanned and 2 * (len(xs) + len(xt)) <= xs.shape[1] else None
            if basis is not None:
                xs, xt = product(xs, basis), product(xt, basis)
            return Problem(xs, xt, before, basis)
        if len(xs) + len(xt) > KERNEL_LIMIT or isinstance(xs, Blocks):
            raise DazooError(
                f"an RBF kernel of {len(xs) + len(xt)} samples is too large; use kernel='linear', or {KERNEL_LIMIT} "
                "samples"
            )
        both = torch.cat([xs, xt])
        gamma = median_gamma(both)
        k = gram("rbf", both, both, gamma)
        return Problem(k[: len(xs)], k[len(xs) :], before, None, both, gamma)

    return ctx.memo(("pencil", kernel, unit_norm, spanned), make)


def _samples(seen: Seen, unit_norm: bool) -> tuple[Tensor, Tensor, tuple[Step, ...]]:
    """Both domains, scaled to unit norm or not, and the steps that do so."""
    before: tuple[Step, ...] = (UnitNorm(),) if unit_norm else ()
    xs, xt = pair(seen)
    return run_steps(before, xs), run_steps(before, xt), before


def labelled_part(p: Problem, seen: Seen, ctx: Context, unit_norm: bool) -> tuple[Seen, Problem]:
    """What is labelled in rounds, and its problem: all samples, or, of those on disk, a sample with the scatter of all.

    X M X' of n samples is ``times`` that of a sample, which is the same as mu divided by it.
    """
    if not isinstance(p.xs, Blocks):
        return seen, p
    part = sampled(seen, ctx.sample, ctx.gen)
    xs, xt, before = _samples(part, unit_norm)
    pairs = [n_s * n_t / (n_s + n_t) for n_s, n_t in ((len(p.xs), len(p.xt)), (len(xs), len(xt)))]
    if len(xt) < len(p.xt):
        ctx.warn(f"{len(xt)} of {len(p.xt)} target samples were labelled in the rounds before the last one")
    return part, Problem(xs, xt, before, whole=p, times=pairs[0] / pairs[1])


def mean_gap(xs: Tensor, xt: Tensor) -> Tensor:
    """mean(x_s) - mean(x_t), (d,)."""
    return mean_of(xs) - mean_of(xt)


def class_scatter(x: Tensor, y: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Between-class and within-class scatter (d, d), both summed over the samples ``x`` (n, d) with labels ``y``."""
    between, within = class_rows(x, y, n_classes)
    return second_moment(between), second_moment(within)


def class_rows(x: Tensor, y: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Rows (C, d) and (n, d) of which ``class_scatter`` are the moments."""
    shares = torch.nn.functional.one_hot(y, n_classes).to(x)
    counts = shares.sum(0)
    centres = product(shares.T, x) / counts.clamp(min=1)[:, None]
    return (centres - x.mean(0)) * counts.sqrt()[:, None], x - centres[y]


def joint_factor(
    xs: Tensor,
    xt: Tensor,
    ys: Tensor,
    yt: Tensor,
    n_classes: int,
    marginal: float = 1.0,
    conditional: float = 1.0,
    priors: bool = False,
) -> Tensor:
    """D = X E (d, 1 + C) with D D' = X M X', M and E as in ``joint_indicators``; M itself, (n, n), is not formed."""
    es, et = joint_indicators(ys, yt, n_classes, marginal, conditional, priors)
    return product(xs.T, es) - product(xt.T, et)


def joint_indicators(
    ys: Tensor, yt: Tensor, n_classes: int, marginal: float = 1.0, conditional: float = 1.0, priors: bool = False
) -> tuple[Tensor, Tensor]:
    """E_s (n_s, 1 + C) and E_t (n_t, 1 + C) with M = E E', E = [E_s; -E_t], of Frobenius norm 1 and proportional to

        marginal e_0 e_0' + conditional sum_c e_c e_c'

    where e_0 is 1/n_s and -1/n_t on the domains, and e_c is 1/n_s^c and -1/n_t^c on the samples of class c, each side
    times the square root of the class's share where ``priors``. A class that either side lacks is left out.
    """
    hs = torch.nn.functional.one_hot(ys, n_classes).to(torch.float64)
    ht = torch.nn.functional.one_hot(yt, n_classes).to(torch.float64)
    ns, nt = hs.sum(0), ht.sum(0)
    both = (ns > 0) & (nt > 0)
    fs = torch.where(both, 1 / ns.clamp(min=1), torch.zeros_like(ns))
    ft = torch.where(both, 1 / nt.clamp(min=1), torch.zeros_like(nt))
    if priors:
        fs, ft = fs * (ns / len(ys)).sqrt(), ft * (nt / len(yt)).sqrt()
    es = torch.cat([hs.new_full((len(ys), 1), marginal**0.5 / len(ys)), hs * fs * conditional**0.5], dim=1)
    et = torch.cat([ht.new_full((len(yt), 1), marginal**0.5 / len(yt)), ht * ft * conditional**0.5], dim=1)
    norm = (es.T @ es + et.T @ et).norm()
    scale = torch.where(norm > 0, norm, torch.ones_like(norm)).rsqrt()
    return es * scale, et * scale
