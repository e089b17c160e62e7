"""TJM: transfer joint matching. Long, Wang, Ding, Sun and Yu, CVPR 2014.

Matches the means of the domains and lets source samples that do not fit drop out, by a row-sparse penalty:

    min_A tr(A' K M K A) + lam (||A_s||_{2,1} + ||A_t||_F^2)   subject to A' K H K A = I
    K H K a = l (K M K + lam G) a,      G_ii = 1 / (2 ||a_i||) on source rows, 1 on target rows
    K = X' X (n, n),   M = e e' / ||e||^2 as in TCA,   A (n, k),   z = A' X' x / ||A' X' x||

G and A are updated by turns, ``rounds`` times, from G = I. K has rank r <= d and is never formed: eigenvectors of K H K
in the metric of the right side come from an (r, r) problem.

Evidence: tests/test_subspace_pencils.py::test_tjm_solves_its_pencil (scipy.linalg.eigh on the dense pencil).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap
from dazoo.methods.subspace._pencil import pencil_of
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import second_moment
from dazoo.ops.linalg.spectral import leading_eigenvectors, root_of, unit_columns


@register
class TJM(FeatureMap):
    """Transfer joint matching."""

    paper = Paper(
        title="Transfer Joint Matching for Unsupervised Domain Adaptation",
        authors="Mingsheng Long, Jianmin Wang, Guiguang Ding, Jiaguang Sun, Philip S. Yu", year=2014,
        url="https://doi.org/10.1109/CVPR.2014.183", venue="CVPR",
        deviations="linear kernel; unit-norm samples, eigenvectors and projected samples, and M scaled to Frobenius "
        "norm 1, as in the authors' code",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    dim: int = hp(20, 4, 100, log=True, help="dimensions of the common space")
    lam: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the row-sparse penalty")
    rounds: int = hp(10, 2, 20, help="updates of the sample weights")
    unit_norm: bool = hp(True, help="scale samples to norm 1 first")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Alternate between the pencil and the sample weights."""
        p = pencil_of(seen, ctx, "linear", self.unit_norm, spanned=False)
        both, n_s = torch.cat([p.xs, p.xt]), len(p.xs)
        root = p.centred().T if p.few else root_of(p.scatter)  # K H K = X root root' X'
        contrast = (p.xs.mean(0) - p.xt.mean(0)) / (1 / n_s + 1 / len(p.xt)) ** 0.5
        tall, matched = product(both, root), both @ contrast
        g = torch.ones(len(both), dtype=both.dtype, device=both.device)
        a, fixed = torch.empty(0), second_moment(tall[n_s:])
        for _ in range(max(self.rounds, 1)):
            a = weighted_pencil(tall, matched, g, self.lam, self.dim, (n_s, fixed))
            norms = a[:n_s].norm(dim=1)
            # rows that have vanished keep a large, finite weight
            g[:n_s] = 1 / (2 * norms.clamp(min=1e-10 * float(norms.max().clamp(min=1e-300))))
        return p.aligned(product(both.T, a))


def weighted_pencil(
    tall: Tensor, matched: Tensor, g: Tensor, lam: float, k: int, fixed: tuple[int, Tensor] | None = None
) -> Tensor:
    """Unit-norm leading A (n, k) of tall tall' a = l (matched matched' + lam diag(g)) a, ``tall`` (n, r).

    ``fixed``: a row from which on g is 1, and the moment x'x (r, r) of the rows of ``tall`` from there.
    """
    scale = g.rsqrt()
    m = matched * scale
    size = m.square().sum()
    # sqrt(lam) times the inverse root of the right side is (I - shrink m m') diag(scale)
    shrink = torch.where(size > 0, (1 - (lam / (lam + size)).sqrt()) / size.clamp(min=1e-300), torch.zeros_like(size))
    start, moment = (len(tall), 0.0) if fixed is None else fixed
    moment = second_moment(tall[:start] * scale[:start, None]) + moment
    pulled = product((m * scale)[None], tall)[0]
    moment.addr_(pulled, pulled, alpha=-float(shrink * (2 - shrink * size)))
    values, y = leading_eigenvectors(moment, min(k, tall.shape[1]), symmetric=True)
    keep = max(1, int((values > 1e-12 * values[0]).sum()))
    y = y[:, :keep]
    # u = (I - shrink m m') diag(scale) tall y, once more through the same root
    u = scale[:, None] * product(tall, y)
    for _ in range(2):
        u = u - shrink * m[:, None] * (m @ u)
    return unit_columns(scale[:, None] * u)
