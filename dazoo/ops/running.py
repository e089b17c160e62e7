"""Moments of samples that come in blocks: one pass, double precision, the same as of all samples at once.

Two sets of n and m samples with means and scatters (sums of squares around the mean) make one by

    mean = mean_a + delta m / (n + m),   scatter = scatter_a + scatter_b + delta delta' n m / (n + m),
    delta = mean_b - mean_a

(Chan, Golub and LeVeque, The American Statistician 1983), which loses no digits to a large mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.ops.linalg.linear import second_moment


@dataclass(frozen=True)
class Running:
    """Moments so far: ``n`` samples (or their total weight), ``mean`` (d,), ``scatter`` (d, d) around the mean."""

    n: float
    mean: Tensor
    scatter: Tensor

    @staticmethod
    def of_block(x: Tensor, weights: Tensor | None = None) -> Running:
        """The moments of samples ``x`` (n, d), each weighing one, or ``weights`` (n,)."""
        x = x.to(torch.float64)
        if weights is None:
            mean = x.mean(0)
            return Running(float(len(x)), mean, second_moment(x - mean))
        total = weights.sum()
        mean = weights @ x / total.clamp(min=1e-300)
        return Running(float(total), mean, second_moment((x - mean) * weights.sqrt()[:, None]))

    def merged(self, other: Running) -> Running:
        """The moments of both together."""
        n = self.n + other.n
        if other.n == 0 or n == 0:
            return self
        delta = other.mean - self.mean
        share = self.n * other.n / n
        scatter = self.scatter + other.scatter + share * torch.outer(delta, delta)
        return Running(n, self.mean + delta * (other.n / n), scatter)

    def leading(self, k: int) -> Running:
        """The moments of the first ``k`` features."""
        return Running(self.n, self.mean[:k].clone(), self.scatter[:k, :k].clone())

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (d, d)."""
        return self.scatter / max(self.n - 1, 1)


def running_moments(blocks: Iterable[Tensor], weights: Iterable[Tensor] | None = None) -> Running:
    """The moments of all blocks (n, d), with weights (n,) block by block where there are some."""
    found: Running | None = None
    pairs = ((b, None) for b in blocks) if weights is None else zip(blocks, weights)
    for block, weight in pairs:
        part = Running.of_block(block, weight)
        found = part if found is None else found.merged(part)
    if found is None:
        raise ValueError("there are no blocks")
    return found


def running_mean(blocks: Iterable[Tensor]) -> Tensor:
    """The mean (d,) of all blocks (n, d)."""
    total, n = None, 0
    for block in blocks:
        part = block.to(torch.float64).sum(0)
        total, n = part if total is None else total + part, n + len(block)
    if total is None:
        raise ValueError("there are no blocks")
    return total / n
