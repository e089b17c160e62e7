"""DAMA: manifold alignment with labels. Wang and Mahadevan, IJCAI 2011.

    A v = l B v, the smallest l;   A = Z (mu L + L_same) Z',   B = Z L_different Z',   Z = blockdiag(X_s', X_t')
    z_s = F_s' x_s,  z_t = F_t' x_t,   v = [F_s; F_t] of (k_s + k_t, dim)

where L is the Laplacian of nearest-neighbour graphs within the domains, weights exp(-d^2 / median), and L_same,
L_different those of all pairs of labelled samples, of either domain, of the same class and of different ones. Domains
enter as their k leading principal components. The maps bring samples of one class together and keep classes apart,
whatever space they come from. Beyond ``DENSE`` samples the same matrices are made of class sums and a sparse graph.

Evidence: tests/test_heterogeneous.py::test_dama_solves_its_pencil, fixture het_dama_eigenvalues.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.heterogeneous._maps import components_of, few_target
from dazoo.methods.shallow import Aligned, FeatureMap, sides, source_of
from dazoo.ops.across import alignment_pencil, alignment_pencil_of_moments
from dazoo.ops.linalg.linear import distances_between, median_gamma, middle_distance, rows_per_block
from dazoo.ops.linalg.spectral import generalised_eigenvectors, unit_columns
from dazoo.shallow.steps import Affine

DENSE = 6000  # samples of both domains, whose matrices of all pairs take about 1.5 GiB


@register
class DAMA(FeatureMap):
    """Domain adaptation by manifold alignment."""

    paper = Paper(
        title="Heterogeneous Domain Adaptation Using Manifold Alignment", authors="Chang Wang, Sridhar Mahadevan",
        year=2011, url="https://www.ijcai.org/Proceedings/11/Papers/259.pdf", venue="IJCAI",
        deviations="principal components first, and reg trace(A) / k added to the diagonal of A, whose null space "
        "would win otherwise; beyond 6,000 samples of both domains the graph's width is the median distance of 2,000",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 1.5
    handles = Handles(marked="few", spaces="own")

    toy_hparams: ClassVar[dict[str, Any]] = {"components": 3, "dim": 2}

    components: int = hp(50, 20, 200, log=True, help="principal components of each domain")
    dim: int = hp(20, 5, 50, log=True, help="dimensions of the common space")
    mu: float = hp(1.0, 0.01, 100.0, log=True, help="weight of the neighbourhood graphs")
    neighbours: int = hp(10, help="neighbours in each graph")
    reg: float = hp(0.1, 1e-3, 10.0, log=True, help="share of A's mean diagonal that is added to it", positive=True)

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Solve the pencil."""
        xs, xt = sides(seen)
        few_target(seen)
        assert seen.few is not None
        to_s, to_t = components_of(xs, self.components), components_of(xt, self.components)
        ps, pt = to_s(xs), to_t(xt)
        yt = torch.full((len(xt),), -1, dtype=torch.int64, device=xt.device)
        yt[-len(seen.few) :] = seen.few.y
        ys = source_of(seen).y
        if len(ps) + len(pt) <= DENSE:
            w = torch.block_diag(heat_graph(ps, self.neighbours), heat_graph(pt, self.neighbours))
            a, b = alignment_pencil(ps, pt, ys, yt, w, self.mu)
        else:
            ctx.warn(
                f"dama: the graph of {len(ps) + len(pt)} samples is sparse, its width the median of some distances"
            )
            graphs = [graph_moment(x, self.neighbours) for x in (ps, pt)]
            a, b = alignment_pencil_of_moments(ps, pt, ys, yt, torch.block_diag(*graphs), self.mu)
        a.diagonal().add_(self.reg * a.trace() / len(a))
        vectors = unit_columns(generalised_eigenvectors(b, a, self.dim)[1])
        k = ps.shape[1]
        steps = [(to, Affine(v)) for to, v in ((to_s, vectors[:k]), (to_t, vectors[k:]))]
        return Aligned(ps @ vectors[:k], steps[1], steps[0])


def heat_graph(x: Tensor, neighbours: int) -> Tensor:
    """Symmetric weights (n, n): exp(-d^2 / median d^2) of samples of which one is among the other's nearest, else 0."""
    d = distances_between(x, x)
    middle = middle_distance(d).clamp(min=1e-300) if len(x) > 1 else d.new_ones(())
    d.fill_diagonal_(torch.inf)
    near = d.topk(min(neighbours, len(x) - 1), dim=1, largest=False)
    w = torch.zeros_like(d).scatter_(1, near.indices, torch.exp(-near.values / middle))
    return torch.maximum(w, w.T)


def graph_moment(x: Tensor, neighbours: int) -> Tensor:
    """X L X' (d, d) of the Laplacian of ``heat_graph``, half the sum of w_ij (x_i - x_j)(x_i - x_j)'.

    Without a matrix of all pairs; the width is the median of the distances of at most 2,000 samples.
    """
    from scipy.sparse import csr_array

    n, k, gamma = len(x), min(neighbours, len(x) - 1), median_gamma(x)
    near, squares = [], []
    for start in range(0, n, size := rows_per_block(n)):
        d = distances_between(x[start : start + size], x)
        d.diagonal(start).fill_(torch.inf)
        found = d.topk(k, dim=1, largest=False)
        near.append(found.indices)
        squares.append(found.values)
    weights, at = torch.exp(-gamma * torch.cat(squares)).numpy().ravel(), torch.cat(near).numpy().ravel()
    w = csr_array((weights, at, range(0, n * k + 1, k)), shape=(n, n))
    w = w.maximum(w.T)
    degree = torch.from_numpy(w.sum(axis=1))
    return (x.T * degree) @ x - x.T @ torch.from_numpy(w @ x.numpy())
