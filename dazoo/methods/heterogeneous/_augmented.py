"""The problem that HFA and SHFA share: a support vector machine over features, and over how they are augmented.

    min_{H >= 0, tr H <= lam}  max_b  1'|b| - 1/2 b' R (H + I) R' b      K = blockdiag(K_s, K_t) = R R'

with b_i = a_i y_i, 0 <= a_i <= C_i, sum_i b_i = 0. The inner value is convex in H with gradient -1/2 v v', v = R'b, so
a Frank-Wolfe step mixes H with lam u u', u = v / |v|: H stays a short sum of rank-one matrices, and no n x n matrix of
it is formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Predictor
from dazoo.ops.linalg.blas import eigh, product
from dazoo.ops.linalg.linear import gram, median_gamma
from dazoo.shallow.classifiers import Warn, fit_svc
from dazoo.shallow.steps import AsScores, KernelMap, Pipeline

MOST = 6000
DRAWN = 2000  # samples of each domain that stand for more than that
RANK = 1e-10


@dataclass(frozen=True)
class Side:
    """Samples ``x`` (n, d) of one domain with their kernel matrix K and its root: K = R R'."""

    x: Tensor
    kernel: str

    @cached_property
    def gamma(self) -> Tensor:
        """Width of the RBF kernel; for the linear one, what makes the mean of its diagonal 1."""
        if self.kernel == "rbf":
            return median_gamma(self.x)
        return 1 / self.x.square().sum(1).mean().clamp(min=1e-300)

    @cached_property
    def k(self) -> Tensor:
        """K (n, n)."""
        k = gram(self.kernel, self.x, self.x, self.gamma)
        return k * self.gamma if self.kernel == "linear" else k

    @cached_property
    def roots(self) -> tuple[Tensor, Tensor]:
        """R (n, r) and the matrix (n, r) that turns kernel rows k(x) into coordinates: k(x) = phi(x) R'."""
        values, vectors = eigh(self.k)
        keep = values > values[-1].clamp(min=1e-300) * RANK
        size = values[keep].sqrt()
        return vectors[:, keep] * size, vectors[:, keep] / size

    def step(self, coef: Tensor, bias: Tensor) -> KernelMap:
        """f(x) = k(x) coef + bias for ``coef`` (n, C), bias (C,)."""
        scale = self.gamma if self.kernel == "linear" else 1.0
        return KernelMap(self.kernel, self.x, coef * scale, self.gamma, bias)


@dataclass(frozen=True)
class Augmented:
    """Both sides, each in coordinates of its own kernel."""

    source: Side
    target: Side

    @cached_property
    def r(self) -> Tensor:
        """R (n, r) of both: block diagonal."""
        return torch.block_diag(self.source.roots[0], self.target.roots[0])

    @cached_property
    def k(self) -> Tensor:
        """K (n, n) of both."""
        return torch.block_diag(self.source.k, self.target.k)

    def solve(self, signs: Tensor, c: Tensor, lam: float, rounds: int, warn: Warn) -> tuple[Tensor, float]:
        """Weights w (r,) in the coordinates of ``r`` and the offset, for ``signs`` (n,) of +-1 and costs ``c`` (n,)."""
        used = c > 0
        r, y, cost = self.r[used], signs[used].numpy(), c[used].numpy()
        k = self.k[used][:, used].numpy()
        mixed = np.zeros_like(k)
        parts: list[tuple[float, Tensor]] = []
        for t in range(rounds + 1):
            model = fit_svc(k + mixed, y, cost, warn, C=1.0, kernel="precomputed")
            b = torch.zeros(len(y), dtype=torch.float64)
            b[torch.from_numpy(model.support_.astype(np.int64))] = torch.from_numpy(model.dual_coef_[0])
            v = r.T @ b
            if t == rounds:
                break
            u = v / v.norm().clamp(min=1e-300)
            step = 2 / (t + 2)
            image = (r @ u).numpy()
            mixed *= 1 - step
            mixed += step * lam * np.outer(image, image)
            parts = [*(((1 - step) * s, w) for s, w in parts), (step * lam, u)]
        weight = v + sum((s * (u @ v)) * u for s, u in parts)
        return weight, float(model.intercept_[0])

    def predictor(self, weights: Tensor, bias: Tensor) -> Predictor:
        """The model of ``weights`` (r, C) and ``bias`` (C,)."""
        cut = self.source.roots[0].shape[1]
        steps = [
            side.step(product(side.roots[1], w), bias)
            for side, w in ((self.source, weights[:cut]), (self.target, weights[cut:]))
        ]
        return Pipeline((steps[1],), (steps[0],), AsScores())


def check_kernel(n: int, name: str) -> None:
    """An error where an (n, n) kernel per class would take minutes."""
    if n > MOST:
        raise DazooError(
            f"{name} needs a kernel of {n} x {n} samples for every class, more than {MOST} allow; draw a subsample"
        )


def one_against_rest(
    problem: Augmented, y: Tensor, c: Tensor, n_classes: int, lam: float, rounds: int, warn: Warn
) -> tuple[Tensor, Tensor]:
    """Weights (r, C) and offsets (C,) of a machine per class; a class without samples scores -1000."""
    found = []
    for k in range(n_classes):
        signs = torch.where(y == k, 1.0, -1.0).to(torch.float64)
        if len(torch.unique(signs[c > 0])) == 2:
            found.append(problem.solve(signs, c, lam, rounds, warn))
        else:
            found.append((torch.zeros(problem.r.shape[1], dtype=torch.float64), -1e3))
    return torch.stack([w for w, _ in found], 1), torch.tensor([b for _, b in found], dtype=torch.float64)
