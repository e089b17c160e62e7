"""MIDA and SMIDA: maximum independence domain adaptation. Yan, Kou and Zhang, IEEE Transactions on Cybernetics 2018.

Directions W in the span of the samples, of large variance and independent of the domain (Hilbert-Schmidt criterion):

    max_W tr( W' K_x (mu H + gamma H K_y H - H K_d H) K_x W )   subject to W' W = I,      z = W' k_x
    K_x = X' X (n, n),   K_d = [same domain] / n,   K_y = [same class] / n among labelled samples,   H = I - 11'/n

with W (n, k). gamma = 0 is MIDA, gamma > 0 the semi-supervised SMIDA. K_d and K_y are products of indicator matrices,
so the eigenvectors come from an (r, r) problem with r = rank X, and nothing (n, n) is formed.

Source: https://arxiv.org/abs/1603.04535. Deviations: linear kernel; K_d and K_y are divided by n, so that mu and
gamma do not depend on n.

Evidence: tests/test_subspace_pencils.py::test_mida_solves_its_eigenproblem (dense (n, n) matrices),
test_mida_without_variance_finds_directions_without_domain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair, source_of
from dazoo.methods.steps import Affine
from dazoo.ops.linear import one_hot
from dazoo.ops.spectral import leading_eigenvectors


@register
class Mida(FeatureMap):
    """See the module's docstring."""

    paper = Paper(
        "Learning Domain-Invariant Subspace using Domain Features and Independence Maximization",
        "Ke Yan, Lu Kou, David Zhang",
        2018,
        "https://arxiv.org/abs/1603.04535",
        "IEEE Transactions on Cybernetics (Journal)",
        "linear kernel; domain and label kernels divided by n",
    )
    settings = frozenset({UNSUPERVISED, FEW_LABELS})
    dim: int = hp(20, 4, 100, log=True, help="dimensions of the common space")
    mu: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the variance")
    gamma: float = hp(1.0, 0.0, 10.0, help="weight of the dependence on the labels; 0 is MIDA")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Solve the eigenproblem."""
        xs, xt = pair(seen)
        y = source_of(seen).y
        labels = one_hot(y, seen.n_classes)
        if seen.few is not None:
            gap = labels.new_zeros(len(seen.target), seen.n_classes)
            labels = torch.cat([labels, gap, one_hot(seen.few.y, seen.n_classes)])
        w = components_of_independence(xs, xt, labels, self.mu, self.gamma, self.dim)
        step = Affine(w)
        return Aligned(step(xs), (step,))


def components_of_independence(xs: Tensor, xt: Tensor, labels: Tensor, mu: float, gamma: float, k: int) -> Tensor:
    """X W (d, k); ``labels`` (m, C) are the indicators of the first m of all samples, zero rows where unknown."""
    x = torch.cat([xs, xt])
    n, n_s = len(x), len(xs)
    values, v = torch.linalg.eigh(x.T @ x)
    keep = values > 1e-12 * values[-1].clamp(min=1e-300)
    values, v = values[keep], v[:, keep]
    centred = x - x.mean(0)
    # H D has the columns (domain indicator - its share); H K_d H = H D D' H
    moved = centred[:n_s].sum(0), centred[n_s:].sum(0)
    domain = torch.outer(moved[0], moved[0]) + torch.outer(moved[1], moved[1])
    padded = torch.cat([labels, labels.new_zeros(n - len(labels), labels.shape[1])])
    classes = centred.T @ padded
    inner = mu * centred.T @ centred + (gamma * classes @ classes.T - domain) / n
    root = v * values.sqrt()  # x = U diag(sqrt(values)) v'
    _, y = leading_eigenvectors(root.T @ inner @ root, k)
    # W = U y, so x' W = v diag(sqrt(values)) y
    return root @ y
