"""MEDA: manifold embedded distribution alignment. Wang, Feng, Chen, Yu, Huang and Yu, ACM MM 2018.

On z, the samples in the root of the geodesic flow kernel scaled to unit norm, a kernel classifier f(z) = k(z, Z) B with
k(z, z') = exp(-||z - z'||^2 / 2) is fitted to the source labels, to equal means of the domains and classes, and to the
graph of all samples:

    min_B ||E (Y - K B)||_F^2 + eta tr(B' K B) + lam tr(B' K M K B) + rho tr(B' K L K B)
    B = ((E + lam M + rho L) K + eta I)^-1 E Y                                   (n, C),  n = n_s + n_t
    M = (1 - b) M_0 + b sum_c M_c, scaled to ||M||_F = 1 (as in JDA, with the current target labels)

E marks the labelled samples and L is the normalised Laplacian of the 10-nearest-neighbour graph with cosine weights.
The balance b = 1 - d_0 / (d_0 + sum_c d_c) compares the proxy A-distances 2 (1 - 2 error) of the domains (d_0) and of
each class (d_c), the error being that of a linear classifier told to separate source from target. Beyond 10,000 samples
f is a sum of kernels at 2,000 of them (``_Landmarks``) and the graph is sparse.

Evidence: tests/test_subspace.py::test_meda_is_a_stationary_point_of_its_objective,
test_surf_averages_of_methods_with_their_own_classifier; tests/test_bounded.py::test_meda_on_landmarks_is_meda.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base import Context, ShallowMethod, register
from dazoo.methods.shallow import pair, source_of
from dazoo.methods.subspace._graph import cosine_graph, fits_dense, scaled_by_degree, sparse_spread
from dazoo.methods.subspace._pencil import joint_indicators
from dazoo.methods.subspace.gfk import flow_steps
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import RidgeFit, gram, second_moment, symmetrise
from dazoo.shallow.classifiers import classifier
from dazoo.shallow.steps import AsScores, KernelMap, Pipeline, UnitNorm, run_steps

LANDMARKS = 2_000


@register
class MEDA(ShallowMethod):
    """Manifold embedded distribution alignment."""

    paper = Paper(
        title="Visual Domain Adaptation with Manifold Embedded Distribution Alignment",
        authors="Jindong Wang, Wenjie Feng, Yiqiang Chen, Han Yu, Meiyu Huang, Philip S. Yu", year=2018,
        url="https://arxiv.org/abs/1807.07258", venue="ACM Multimedia",
        deviations="the balance is estimated with domain classifiers that are ridge regressions, tested on the half "
        "of the samples they were not fitted on; the authors' program weighs M_0, the means of the domains, by the "
        "number of classes; beyond 10,000 samples the function is a sum of kernels at 2,000 of them and "
        "the graph is sparse",
    )  # fmt: skip
    growth = 2.0
    memory_growth = 1.5
    handles = Handles(marked={"none", "few"})
    knob_needs: ClassVar[dict[str, dict[str, bool]]] = {"balance": {"adaptive": False}}

    dim: int = hp(20, 4, 100, log=True, help="dimensions of the geodesic flow kernel")
    lam: float = hp(10.0, 0.1, 1e3, log=True, help="weight of the difference of means")
    rho: float = hp(1.0, 1e-2, 1e2, log=True, help="weight of the graph")
    eta: float = hp(0.1, 1e-3, 10.0, log=True, help="weight of the function's norm")
    neighbours: int = hp(10, 3, 30, help="neighbours in the graph")
    rounds: int = hp(10, help="number of times the target is labelled")
    adaptive: bool = hp(True, help="estimate the balance of domain and class means")
    balance: float = hp(0.5, 0.0, 1.0, help="the balance where it is not estimated")

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Alternate between the classifier and the labels."""
        xs, xt = pair(seen)
        before = (*flow_steps(seen, ctx, self.dim, False), UnitNorm())
        z = run_steps(before, torch.cat([xs, xt]))
        n_s, n, c = len(xs), len(z), seen.n_classes
        ys = source_of(seen).y
        few = torch.empty(0, dtype=ys.dtype, device=ys.device) if seen.few is None else seen.few.y.to(ys)
        known = torch.zeros(n, dtype=torch.bool, device=ys.device)
        known[:n_s] = True
        known[n - len(few) :] = True
        gamma = z.new_tensor(0.5)
        system: _Dense | _Landmarks
        if fits_dense(n):
            kernel = ctx.memo(("meda", self.dim), lambda: gram("rbf", z, z, gamma))
            spread = ctx.memo(
                ("meda", self.dim, self.neighbours), lambda: scaled_by_degree(cosine_graph(z, self.neighbours))
            )
            system = _Dense(z, kernel, spread, known, self.rho, self.eta)
        else:
            ctx.warn(f"meda: of {n} samples the function is a sum of kernels at {LANDMARKS} of them, drawn at random")
            rows = torch.randperm(n, generator=ctx.gen)[:LANDMARKS].to(z.device)
            system = _Landmarks(z[rows], z, gamma, sparse_spread(z, self.neighbours), known, self.rho, self.eta)
        labels = classifier("1nn").fit(z[:n_s], ys, c)(z[n_s:]).argmax(1)
        labels[len(labels) - len(few) :] = few
        coef = z.new_zeros(len(system.anchors), c)
        for _ in range(max(self.rounds, 1)):
            target = one_hot(torch.cat([ys, labels]), c, torch.float64) * known[:, None]
            b = balance_of(z[:n_s], z[n_s:], ys, labels, c) if self.adaptive else self.balance
            es, et = joint_indicators(ys, labels, c, 1 - b, b)
            coef = system.solve(self.lam, torch.cat([es, -et]), target)
            now = (system.kernel[n_s:] @ coef).argmax(1)
            now[len(now) - len(few) :] = few
            if torch.equal(now, labels):
                break
            labels = now
        return Pipeline((*before, KernelMap("rbf", system.anchors, coef, gamma)), None, AsScores())


class _Dense:
    """The system of all samples: ``anchors`` (n, d) and their ``kernel`` (n, n).

    A round changes e of lam M = lam e e' alone, so that one factorisation of A = (E + rho L) K + eta I serves them all:
    (A + lam e e'K)^-1 = A^-1 - lam A^-1 e (I + lam e'K A^-1 e)^-1 e'K A^-1.
    """

    def __init__(self, anchors: Tensor, kernel: Tensor, spread: Tensor, known: Tensor, rho: float, eta: float) -> None:
        from scipy.sparse import csr_array

        self.anchors, self.kernel = anchors, kernel
        graph = csr_array(spread.cpu().numpy())  # a dozen entries a row
        left = rho * (kernel - torch.from_numpy(graph @ kernel.cpu().numpy()).to(kernel))
        left[known] += kernel[known]
        left.diagonal().add_(eta)
        self.factors = torch.linalg.lu_factor(left)

    def solve(self, lam: float, e: Tensor, target: Tensor) -> Tensor:
        """B (n, C) for M = e e' and E Y = ``target`` (n, C)."""
        found = torch.linalg.lu_solve(*self.factors, torch.cat([target, e], dim=1))
        plain, moved = found[:, : target.shape[1]], found[:, target.shape[1] :]
        pulled = product(e.T, self.kernel)
        core = lam * product(pulled, moved)
        core.diagonal().add_(1.0)
        return plain - lam * product(moved, torch.linalg.solve(core, product(pulled, plain)))


class _Landmarks:
    """The system of functions that are sums of kernels at m of the samples: ``kernel`` (n, m),

    B = (K' (E + lam M + rho L) K + eta K_m)^-1 K' E Y   (m, C),   K_m the kernel of the landmarks (m, m).
    """

    def __init__(
        self, anchors: Tensor, z: Tensor, gamma: Tensor, spread: Any, known: Tensor, rho: float, eta: float
    ) -> None:
        self.anchors, self.kernel = anchors, gram("rbf", z, anchors, gamma)
        k = self.kernel
        smooth = k - torch.from_numpy(spread @ k.cpu().numpy()).to(k)
        self.fixed = second_moment(k[known]) + symmetrise(rho * product(k.T, smooth)) + eta * gram(
            "rbf", anchors, anchors, gamma
        )  # fmt: skip
        # kernels of landmarks close to one another are nearly dependent
        self.fixed.diagonal().add_(1e-10 * self.fixed.diagonal().mean())

    def solve(self, lam: float, e: Tensor, target: Tensor) -> Tensor:
        """B (m, C) for M = e e' and E Y = ``target`` (n, C)."""
        pulled = self.kernel.T @ e
        return torch.linalg.solve(self.fixed + lam * pulled @ pulled.T, self.kernel.T @ target)


def balance_of(zs: Tensor, zt: Tensor, ys: Tensor, yt: Tensor, n_classes: int) -> float:
    """1 - d_0 / (d_0 + sum_c d_c) in [0, 1]; 0.5 where no classifier tells the domains apart."""
    whole = ridge_a_distance(zs, zt)
    parts = [ridge_a_distance(zs[ys == c], zt[yt == c]) for c in range(n_classes)]
    total = whole + sum(parts)
    return 1 - whole / total if total > 0 else 0.5


def ridge_a_distance(zs: Tensor, zt: Tensor) -> float:
    """Proxy A-distance 2 (1 - 2 error), at least 0; 0 where a side has fewer than two samples."""
    if min(len(zs), len(zt)) < 2:
        return 0.0
    halves = [torch.cat([zs[i::2], zt[i::2]]) for i in (0, 1)]
    sides = [torch.cat([zs.new_ones(len(zs[i::2])), -zt.new_ones(len(zt[i::2]))]) for i in (0, 1)]
    errors = []
    for fit, test in ((0, 1), (1, 0)):
        w, b = RidgeFit(halves[fit], 1.0).fit(sides[fit][:, None])
        errors.append(float(((halves[test] @ w + b)[:, 0] * sides[test] <= 0).double().mean()))
    return max(0.0, 2 * (1 - sum(errors)))
