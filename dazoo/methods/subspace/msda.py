"""mSDA: marginalised stacked denoising autoencoders. Chen, Xu, Weinberger and Sha, ICML 2012.

Each layer learns, from both domains, the linear map that best restores features of which each was dropped with
probability p, averaged over all ways of dropping, in closed form:

    W = argmin_W E ||X - W X~||_F^2 = P Q^-1,      h = tanh(W x)
    S = X X' (with a constant feature, which is never dropped),   q = (1 - p, ..., 1 - p, 1)
    P_ij = S_ij q_j,    Q_ij = S_ij q_i q_j (i != j),    Q_ii = S_ii q_i

As Q = diag(q) S diag(q) + D with a diagonal D, W' = (I - Q^-1 D) diag(q)^-1, and one inverse is all there is to do.
The representation is [x, h_1, ..., h_layers].

Evidence: tests/test_subspace_pencils.py::test_msda_layer_is_the_limit_of_explicit_dropping.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.ops.linalg.blas import inverse
from dazoo.ops.linalg.linear import second_moment
from dazoo.shallow.steps import Affine, Append, Step, Tanh


@register
class MSDA(FeatureMap):
    """Marginalised stacked denoising autoencoders."""

    paper = Paper(
        title="Marginalized Denoising Autoencoders for Domain Adaptation",
        authors="Minmin Chen, Zhixiang Xu, Kilian Weinberger, Fei Sha", year=2012,
        url="https://arxiv.org/abs/1206.4683", venue="ICML",
        deviations="a ridge of reg times the mean of Q's diagonal, so that constant and empty features do no harm and "
        "the normal equations stay solvable",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    layers: int = hp(3, 1, 5, help="number of layers")
    drop: float = hp(0.5, 0.1, 0.9, help="probability that a feature is dropped")
    reg: float = hp(1e-5, help="ridge, relative to the mean of the normal equations' diagonal")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Stack the layers."""
        xs, xt = pair(seen)
        h = torch.cat([xs, xt])
        parts = [xs]
        chain: list[Step] = []
        for _ in range(self.layers):
            layer = denoiser(h, self.drop, self.reg)
            chain += [layer, Tanh()]
            h = layer(h).tanh_()
            parts.append(h[: len(xs)])
        # nested from the inside out: x -> [x, h_1(x), h_2(h_1(x)), ...] without computing a layer twice
        nested: tuple[Step, ...] = ()
        for i in reversed(range(self.layers)):
            nested = (chain[2 * i], chain[2 * i + 1], *((Append(nested),) if nested else ()))
        return Aligned(torch.cat(parts, dim=1), (Append(nested),))


def denoiser(x: Tensor, drop: float, reg: float) -> Affine:
    """The layer x -> W [x; 1] for samples ``x`` (n, d), before its tanh."""
    n, d = x.shape
    s = second_moment(torch.cat([x, x.new_ones(n, 1)], dim=1))
    q = x.new_full((d + 1,), 1 - drop)
    q[-1] = 1.0
    noisy = s * torch.outer(q, q)
    extra = s.diagonal() * q - noisy.diagonal()
    extra += reg * (noisy.diagonal() + extra).mean()
    noisy.diagonal().add_(extra)
    w = inverse(noisy).mul_(-extra)  # of -Q^-1 D
    w.diagonal().add_(1.0)
    w = w[:, :d] / q[:d]  # (d + 1, d) = Q^-1 P'
    return Affine(w[:d], w[d])
