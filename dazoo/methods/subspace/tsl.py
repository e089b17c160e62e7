"""TSL: transfer subspace learning by Bregman divergence. Si, Tao and Geng, TKDE 2010.

An orthonormal map W (d, k) that is good for the source's classes (Fisher's criterion) and under which the densities of
the domains agree:

    min_{W'W = I}  tr(W' S_w W) / tr(W' S_b W) + lam D(W)
    D(W) = integral (p_s(z) - p_t(z))^2 dz,     p: kernel density estimates of z = W'x with variance s^2 I
         = c ( mean_ii' G(z_i - z_i') + mean_jj' G(z_j - z_j') - 2 mean_ij G(z_i - z_j) )
    G(u) = exp(-||u||^2 / (4 s^2)),   c = (4 pi s^2)^(-k/2)

with s^2 half the median squared distance in the leading principal directions, from which Adam with a QR retraction
starts; c is dropped.

Evidence: tests/test_subspace_walks.py::test_tsl_divergence_is_the_integral (numerical quadrature in one dimension),
test_tsl_turns_away_from_the_shift.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, components, pair, source_of
from dazoo.methods.subspace._descent import ascend, mean_kernel, projected, thinned
from dazoo.methods.subspace._pencil import class_rows
from dazoo.ops.linalg.linear import median_gamma, second_moment
from dazoo.ops.linalg.spectral import root_of
from dazoo.shallow.steps import Affine


@register
class TSL(FeatureMap):
    """Transfer subspace learning by Bregman divergence."""

    paper = Paper(
        title="Bregman Divergence-Based Regularization for Transfer Subspace Learning",
        authors="Si Si, Dacheng Tao, Bo Geng", year=2010, url="https://doi.org/10.1109/TKDE.2009.126",
        venue="IEEE Transactions on Knowledge and Data Engineering (Journal)",
        deviations="Adam with QR retraction instead of plain gradient steps; at most limit samples per domain, evenly "
        "spaced, enter D; of the paper's source criteria only Fisher's is offered; no gain at the defaults where the "
        "leading discriminative directions of the domains differ: it matches densities inside the source's",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    # in as many dimensions as there are features all orthonormal maps are equally good
    knob_needs: ClassVar[dict[str, dict[str, int]]] = {"iterations": {"dim": 3}, "lam": {"dim": 3}}

    dim: int = hp(20, 3, 100, log=True, help="dimensions of the common space")
    lam: float = hp(10.0, 0.1, 1e3, log=True, help="weight of the divergence")
    iterations: int = hp(50, 10, 200, log=True, help="steps of Adam")
    limit: int = hp(500, help="samples per domain in the divergence")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Descend from the principal directions."""
        xs, xt = pair(seen)
        few_s, few_t = (x[thinned(len(x), self.limit, x.device)] for x in (xs, xt))
        between, within = class_rows(xs, source_of(seen).y, seen.n_classes)
        if len(within) > within.shape[1]:  # any rows of the same moment will do
            within = root_of(second_moment(within)).T
        mean, _, start = components(seen, ctx, "st", self.dim)
        gamma = median_gamma(torch.cat([few_s, few_t]) @ start) / 2
        least = 1e-12 * float(between.square().sum()) + 1e-300
        # all that is projected, in one product
        rows, sizes = torch.cat([within, between, few_s, few_t]), [len(x) for x in (within, between, few_s, few_t)]

        def criterion(w: Tensor) -> Tensor:
            near, far, zs, zt = projected(rows, w).split(sizes)
            fisher = near.square().sum() / far.square().sum().clamp(min=least)
            return -fisher - self.lam * divergence(zs, zt, gamma)

        w = ascend(criterion, start, self.iterations, retract=orthonormal)
        step = Affine(w, -mean @ w)
        return Aligned(step(xs), (step,))


def orthonormal(w: Tensor) -> Tensor:
    """The orthonormal factor of the QR decomposition in which R has a positive diagonal."""
    q, r = torch.linalg.qr(w)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def divergence(zs: Tensor, zt: Tensor, gamma: Tensor | float) -> Tensor:
    """D up to its constant, with gamma = 1 / (4 s^2)."""
    return mean_kernel(zs, zs, gamma) + mean_kernel(zt, zt, gamma) - 2 * mean_kernel(zs, zt, gamma)
