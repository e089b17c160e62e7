"""Nearest-neighbour graphs of samples and their Laplacians."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.ops.linalg.linear import rows_per_block, unit_rows

DENSE_LIMIT = 20_000


def check_dense(n: int, name: str) -> None:
    """Raise ``DazooError`` where an (n, n) matrix would not fit."""
    if n > DENSE_LIMIT:
        raise DazooError(f"{name} needs an {n} x {n} matrix, more than {DENSE_LIMIT} allow; draw a subsample")


def cosine_graph(x: Tensor, neighbours: int) -> Tensor:
    """Symmetric weights W (n, n): the cosine of samples of which one is among the other's nearest, else 0.

    Negative cosines count as 0, and no sample is its own neighbour.
    """
    n = len(x)
    k = min(neighbours, n - 1)
    unit = unit_rows(x)
    out = torch.zeros(n, n, dtype=x.dtype, device=x.device)
    size = rows_per_block(n)
    for start in range(0, n, size):
        rows = torch.arange(start, min(start + size, n), device=x.device)
        cosines = unit[rows] @ unit.T
        cosines[torch.arange(len(rows), device=x.device), rows] = -2.0
        best = cosines.topk(k, dim=1)
        out[rows[:, None], best.indices] = best.values.clamp(min=0)
    return torch.maximum(out, out.T)


def scaled_by_degree(weights: Tensor) -> Tensor:
    """D^(-1/2) W D^(-1/2) (n, n); samples without neighbours keep zero rows."""
    degree = weights.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=1e-300).rsqrt(), torch.zeros_like(degree))
    return scale[:, None] * weights * scale


def laplacian(weights: Tensor) -> Tensor:
    """The normalised Laplacian I - D^(-1/2) W D^(-1/2) (n, n)."""
    return torch.eye(len(weights), dtype=weights.dtype, device=weights.device) - scaled_by_degree(weights)
