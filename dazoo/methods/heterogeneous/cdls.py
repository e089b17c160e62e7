"""CDLS: landmarks across domains. Tsai, Yeh and Wang, CVPR 2016.

    min_{A, a, b}  lam |A|^2 + |m_s - m_t|^2 + sum_c |m_s^c - m_t^c|^2 + sum_c E_c
    m_s = sum_i a_i A'x_i / (delta n_s),    m_t = (sum_f p_f + sum_u b_u p_u) / (n_f + delta n_u),    m^c: of class c
    E_c = the mean of |a_i A'x_i - p_f|^2, of |a_i A'x_i - b_u p_u|^2 and of |b_u p_u - p_f|^2 over pairs of class c
    0 <= a, b <= 1,   the mean of a and of b in each class is delta

with source samples x_i (k_s,), labelled and unlabelled target samples p_f, p_u (k_t,) in the target's principal
components, and a map A (k_s, k_t) into them. The weights a and b say which samples are landmarks. Each of the
``rounds`` solves A (in closed form), then a, then b (projected gradients), and labels the unlabelled samples anew with
the classifier, trained on the mapped source with weights a and on the labelled target samples.

Evidence: tests/test_heterogeneous.py::test_cdls_map_is_stationary, test_landmarks_keep_their_share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.heterogeneous._maps import components_of, few_target
from dazoo.methods.shallow import Aligned, FeatureMap, fit_classifier, sides, source_of
from dazoo.ops.classwise import one_hot
from dazoo.shallow.steps import Affine

STEPS, HALVINGS = 30, 25


@dataclass(frozen=True)
class Landmarks:
    """Samples ``x`` (n, k) with classes ``y`` (n,) of ``n_classes`` and weights ``a`` (n,)."""

    x: Tensor
    y: Tensor
    n_classes: int
    a: Tensor

    @cached_property
    def w(self) -> Tensor:
        """Membership (n, 1 + C): of all, and of the sample's class."""
        return torch.cat([self.x.new_ones(len(self.x), 1), one_hot(self.y, self.n_classes, self.x.dtype)], 1)

    @property
    def counts(self) -> Tensor:
        """Samples (1 + C,) in all and of every class."""
        return self.w.sum(0)

    @property
    def sums(self) -> Tensor:
        """Weighted sums (1 + C, k)."""
        return (self.w * self.a[:, None]).T @ self.x

    @property
    def means(self) -> Tensor:
        """Weighted sums by the number of samples, of every class (C, k)."""
        return (self.sums / self.counts.clamp(min=1)[:, None])[1:]

    def there(self) -> Tensor:
        """1 for the classes that have samples (C,), else 0."""
        return (self.counts[1:] > 0).to(self.x)


@register
class CDLS(FeatureMap):
    """Cross-domain landmark selection."""

    paper = Paper(
        title="Learning Cross-Domain Landmarks for Heterogeneous Domain Adaptation",
        authors="Yao-Hung Hubert Tsai, Yi-Ren Yeh, Yu-Chiang Frank Wang", year=2016,
        url="https://openaccess.thecvf.com/content_cvpr_2016/html/Tsai_Learning_Cross-Domain_Landmarks_CVPR_2016_paper.html",
        venue="CVPR",
        deviations="pairs of samples enter as a mean per kind of pair; principal components of the source too; the "
        "suite's classifier; weights of landmarks by projected gradients",
    )  # fmt: skip
    handles = Handles(marked="few", spaces="own")

    toy_hparams: ClassVar[dict[str, Any]] = {"dim": 2}

    dim: int = hp(100, 20, 200, log=True, help="principal components of the target, the common space")
    lam: float = hp(0.5, 0.01, 10.0, log=True, help="weight of |A|^2", positive=True)
    delta: float = hp(0.5, 0.1, 0.9, help="share of samples that are landmarks", positive=True)
    rounds: int = hp(5, help="how often the target is labelled")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Alternate between the map, the landmarks and the labels."""
        xs, xt = sides(seen)
        yf = few_target(seen)[1]
        n_u, n, ys = len(seen.target), seen.n_classes, source_of(seen).y
        to_s, to_t = components_of(xs, 2 * self.dim), components_of(xt, self.dim)
        x, p = to_s(xs), to_t(xt)
        source = Landmarks(x, ys, n, x.new_full((len(x),), self.delta))
        few = Landmarks(p[n_u:], yf, n, p.new_ones(len(yf)))
        free = Landmarks(p[:0], yf[:0], n, p[:0, 0])  # the first map knows labelled samples alone
        a = solve_map(source, Target(few, free, self.delta), self.lam)
        for _ in range(self.rounds):
            both, labels = torch.cat([x @ a, few.x]), torch.cat([ys, yf.to(ys)])
            guess = fit_classifier(seen, ctx, both, labels, source.a)(p[:n_u]).argmax(1)
            free = Landmarks(p[:n_u], guess, n, p.new_full((n_u,), self.delta))
            target = Target(few, free, self.delta)
            moved = Landmarks(x @ a, ys, n, source.a)
            unit = self.delta * moved.counts.clamp(min=1)
            weights = chosen(moved, target.means, unit, target.present, *partners_of(few, free), self.delta)
            source, moved = Landmarks(x, ys, n, weights), Landmarks(moved.x, ys, n, weights)
            gap = moved.sums / unit[:, None] - few.sums / target.unit[:, None]
            weights = chosen(free, gap, target.unit, target.present, *partners_of(few, moved), self.delta)
            target = Target(few, Landmarks(free.x, guess, n, weights), self.delta)
            a = solve_map(source, target, self.lam)
        return Aligned(x @ a, (to_t,), (to_s, Affine(a)), source.a)


@dataclass(frozen=True)
class Target:
    """Labelled and unlabelled target samples together."""

    few: Landmarks
    free: Landmarks
    delta: float

    @property
    def unit(self) -> Tensor:
        """By what sums are divided (1 + C,)."""
        return (self.few.counts + self.delta * self.free.counts).clamp(min=1e-300)

    @property
    def present(self) -> Tensor:
        """1 where there are samples (1 + C,), else 0."""
        return (self.unit > 1e-300).to(self.few.x)

    @property
    def means(self) -> Tensor:
        """m_t and m_t^c (1 + C, k)."""
        return (self.few.sums + self.free.sums) / self.unit[:, None]


def partners_of(*groups: Landmarks) -> tuple[Tensor, Tensor]:
    """How many kinds of partner a sample of each class has (C,), and the sum of their weighted means (C, k)."""
    return sum(g.there() for g in groups), sum(g.means for g in groups)  # type: ignore[return-value]


def solve_map(source: Landmarks, target: Target, lam: float) -> Tensor:
    """A (k_s, k_t) of the least objective for landmarks as they are."""
    u = source.sums / (target.delta * source.counts.clamp(min=1))[:, None]
    u = u * (target.present * (source.counts > 0))[:, None]
    kinds, partner = partners_of(target.few, target.free)
    own = (kinds / source.counts[1:].clamp(min=1))[source.y] * source.a.square()
    left = u.T @ u + source.x.T @ (own[:, None] * source.x)
    left.diagonal().add_(lam)
    return torch.linalg.solve(left, u.T @ target.means + source.means.T @ partner)


def chosen(
    group: Landmarks, goal: Tensor, unit: Tensor, present: Tensor, kinds: Tensor, partner: Tensor, delta: float
) -> Tensor:
    """Weights (n,) of the least objective, all else as it is: sums over ``unit`` (1 + C,) shall be ``goal`` (1 + C, k)
    where ``present``, and samples shall lie at the means of their partners."""
    z, n = group.x, group.counts[1:].clamp(min=1)
    parts = group.w * present / unit
    own = (kinds / n)[group.y] * z.square().sum(1)
    pull = (z * (partner / n[:, None])[group.y]).sum(1)
    size = float((parts.square() * z.square().sum(1, keepdim=True)).sum() + own.max())
    a = group.a
    for _ in range(STEPS):
        gap = (parts * a[:, None]).T @ z - goal * present[:, None]
        gradient = (parts * (z @ gap.T)).sum(1) + own * a - pull
        a = share_of(a - gradient / max(size, 1e-300), group, delta)
    return a


def share_of(a: Tensor, group: Landmarks, delta: float) -> Tensor:
    """The nearest weights in [0, 1] whose mean in every class is ``delta``: min(max(a - shift_c, 0), 1), by halving."""
    values, y, n = a.numpy(), group.y.numpy(), group.n_classes
    low, high = np.full(n, float(a.min()) - 1), np.full(n, float(a.max()))
    goal = delta * np.bincount(y, minlength=n)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        more = np.bincount(y, np.clip(values - middle[y], 0, 1), n) > goal
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return torch.from_numpy(np.clip(values - ((low + high) / 2)[y], 0, 1))
