"""Location-scale conditional shift by MMD. Zhang, Schölkopf, Muandet and Wang, ICML 2013.

Every class may have been stretched and moved feature by feature: z_s,i = a_c * x_s,i + b_c for samples of class c. The
2 C d numbers bring the mapped source onto the target,

    min_{a, b} || mean_i phi(z_s,i) - mean_j phi(x_t,j) ||^2 + lam ( mean (a - 1)^2 + mean (b / std(x_s))^2 )

where phi belongs to exp(-gamma ||x - x'||^2), gamma = 1 / median squared distance of target samples. L-BFGS from the
identity. New source samples move as their nearest training sample does; the target stays as it is.

Evidence: tests/test_subspace_more.py::test_location_scale_recovers_a_planted_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair, source_of
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import median_gamma, second_moment
from dazoo.shallow.steps import NearestShift


@register
class MMDLocationScale(FeatureMap):
    """Location-scale conditional shift by MMD."""

    paper = Paper(
        title="Domain Adaptation under Target and Conditional Shift",
        authors="Kun Zhang, Bernhard Schölkopf, Krikamol Muandet, Zhikun Wang", year=2013,
        url="https://proceedings.mlr.press/v28/zhang13d.html", venue="ICML",
        deviations="class shares are taken as equal in both domains (no target shift); at most limit samples per "
        "domain, evenly spaced, enter the criterion",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    lam: float = hp(1e-3, 1e-5, 1e-1, log=True, help="pull towards the identity")
    iterations: int = hp(50, help="largest number of L-BFGS iterations")
    limit: int = hp(500, help="samples per domain in the criterion")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Fit scale and location."""
        xs, xt = pair(seen)
        y = source_of(seen).y
        order = torch.argsort(y, stable=True)  # evenly spaced rows then keep the shares of the classes
        rows = order[:: max(1, -(-len(xs) // self.limit))]
        a, b = location_scale(
            xs[rows], y[rows], xt[:: max(1, -(-len(xt) // self.limit))], seen.n_classes, self.lam, self.iterations
        )
        zs = a[y] * xs + b[y]
        return Aligned(zs, (), (NearestShift(xs, zs - xs),))


def location_scale(
    xs: Tensor, ys: Tensor, xt: Tensor, n_classes: int, lam: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Scales and locations (C, d)."""
    gamma = median_gamma(xt)
    spread = xs.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    # both unknowns in units of one, which L-BFGS needs
    change = torch.zeros(2, n_classes, xs.shape[1], dtype=xs.dtype, device=xs.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([change], max_iter=iterations, line_search_fn="strong_wolfe")
    middle = xt.mean(0)  # which a common offset of all samples leaves no digits to
    gap = _Gap(xs, xt - middle, ys, one_hot(ys, n_classes).to(xs), middle, spread, float(gamma), lam)

    @torch.no_grad()
    def closure() -> Tensor:
        value, change.grad = gap(change.detach())
        return value

    optimiser.step(closure)
    best = change.detach()
    return 1 + best[0], best[1] * spread


@dataclass(frozen=True)
class _Gap:
    """The criterion and its gradient, with samples as rows, less the ``middle`` (d,) of the target:

    d mean k(z, z) / dz = -4 gamma / n_s^2 (diag(K 1) - K) z,
    d mean k(z, t) / dz = -2 gamma / (n_s n_t) (diag(K 1) z - K t).
    """

    xs: Tensor
    target: Tensor
    ys: Tensor
    classes: Tensor
    middle: Tensor
    spread: Tensor
    gamma: float
    lam: float

    def __call__(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """The value () and gradient (2, C, d) at ``change`` (2, C, d)."""
        z = torch.addcmul((change[1] * self.spread - self.middle)[self.ys], self.xs, (1 + change[0])[self.ys])
        own, across = second_moment(z.T), product(z, self.target.T)
        norms = own.diagonal() * -self.gamma
        twice = 2 * self.gamma
        own = own.mul_(twice).add_(norms[:, None]).add_(norms).clamp_(max=0).exp_()
        far = self.target.square().sum(1) * -self.gamma
        across = across.mul_(twice).add_(norms[:, None]).add_(far).clamp_(max=0).exp_()
        value = own.mean() - 2 * across.mean() + self.lam * change.square().mean()
        own *= 4 * self.gamma / own.numel()
        across *= 4 * self.gamma / across.numel()
        to_z = product(own, z).sub_(product(across, self.target)).sub_(z * (own.sum(1) - across.sum(1))[:, None])
        location = product(self.classes.T, to_z) * self.spread
        scale = product(self.classes.T, to_z.mul_(self.xs))
        return value, torch.stack([scale, location]) + (2 * self.lam / change.numel()) * change
