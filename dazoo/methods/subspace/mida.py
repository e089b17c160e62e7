"""MIDA and SMIDA: maximum independence domain adaptation. Yan, Kou and Zhang, IEEE Transactions on Cybernetics 2018.

Directions W in the span of the samples, of large variance and independent of the domain (Hilbert-Schmidt criterion):

    max_W tr( W' K_x (mu H + gamma H K_y H - H K_d H) K_x W )   subject to W' W = I,      z = W' k_x
    K_x = X' X (n, n),   K_d = [same domain],   K_y = [same class] among labelled samples,   H = I - 11'/n

with W (n, k). gamma = 0 is MIDA, gamma > 0 the semi-supervised SMIDA. With ``augment`` every sample carries, beside its
features, the indicator of its domain, so that each domain may move by an offset of its own (the authors' feature
augmentation). K_d and K_y are products of indicator matrices, so the eigenvectors come from a problem of the smaller of
n and d.

Defaults are those of the authors' program (mu 1, gamma 0.1, 30 dimensions, augmentation, linear kernel).

Evidence: tests/test_subspace_pencils.py::test_mida_solves_its_eigenproblem (dense (n, n) matrices),
test_mida_without_variance_finds_directions_without_domain, test_mida_closes_the_gap_of_the_domains_at_any_scale.
"""

from __future__ import annotations

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
from dazoo.ops.linalg.linear import second_moment
from dazoo.ops.linalg.spectral import leading_eigenvectors, root_of
from dazoo.shallow.steps import Affine


@register
class MIDA(FeatureMap):
    """Maximum independence domain adaptation."""

    paper = Paper(
        title="Learning Domain-Invariant Subspace using Domain Features and Independence Maximization",
        authors="Ke Yan, Lu Kou, David Zhang", year=2018, url="https://arxiv.org/abs/1603.04535",
        venue="IEEE Transactions on Cybernetics (Journal)",
        deviations="linear kernel; the indicators are as large as one feature of average variance (the authors "
        "standardise features, where that is 1); z is scaled as a whole to the total variance of x, since W' W = I "
        "alone makes it grow with n, and classifiers with a penalty would notice; the method makes the domains' means "
        "agree, so it loses where class proportions differ",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    dim: int = hp(30, 4, 100, log=True, help="dimensions of the common space")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the variance")
    gamma: float = hp(0.1, 0.0, 10.0, help="weight of the dependence on the labels; 0 is MIDA")
    augment: bool = hp(True, choices=(False, True), help="give each sample the indicator of its domain as features")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Solve the eigenproblem."""
        xs, xt = pair(seen)
        y = source_of(seen).y
        labels = one_hot(y, seen.n_classes, torch.float64)
        if seen.few is not None:
            gap = labels.new_zeros(len(seen.target), seen.n_classes)
            labels = torch.cat([labels, gap, one_hot(seen.few.y, seen.n_classes, torch.float64)])
        d = xs.shape[1]
        spread = torch.cat([xs, xt]).var(0, correction=0)
        size = spread.mean().sqrt() if self.augment else spread.new_zeros(())
        us, ut = (torch.cat([x, size * one_hot(torch.full((len(x),), k), 2).to(x)], 1) for k, x in enumerate((xs, xt)))
        w = components_of_independence(us, ut, labels, self.mu, self.gamma, self.dim)
        reached = (torch.cat([us, ut]) @ w).var(0, correction=0).sum() if w.shape[1] else spread.new_zeros(())
        if bool(reached > 0):
            w = w * (spread.sum() / reached).sqrt()
        source, target = (Affine(w[:d], size * w[d + k]) for k in range(2))
        return Aligned(source(xs), (target,), (source,))


def components_of_independence(xs: Tensor, xt: Tensor, labels: Tensor, mu: float, gamma: float, k: int) -> Tensor:
    """X W (d, k), fewer columns where fewer directions raise the objective.

    ``labels`` (m, C) are the indicators of the first m of all samples, zero rows where unknown.
    """
    x = torch.cat([xs, xt])
    (n, d), n_s = x.shape, len(xs)
    centred = x - x.mean(0)
    padded = torch.cat([labels, labels.new_zeros(n - len(labels), labels.shape[1])])
    # H D has the columns (domain indicator - its share); H K_d H = H D D' H
    domains = torch.zeros(n, 2, dtype=x.dtype, device=x.device)
    domains[:n_s, 0] = domains[n_s:, 1] = 1.0
    if n < d:
        # between samples: K (mu H + ...) K with the columns of H K in place of the centred features
        k_x = second_moment(x.T)
        inner, back = k_x - k_x.mean(0), x.T
    else:
        # x = Q root' with orthonormal columns Q, W = Q y, x' W = root y, and K W = x root y
        root = root_of(second_moment(x))
        inner, back = product(centred, root), root
    total = mu * second_moment(inner) + gamma * second_moment(product(padded.T, inner))
    gain, y = leading_eigenvectors(total - second_moment(product(domains.T, inner)), k)
    # directions of negative gain tell domains apart more than they vary; those of none are rounding errors
    kept = gain > 1e-14 * gain[0].clamp(min=0)
    return product(back, y[:, : max(1, int(kept.sum()))])
