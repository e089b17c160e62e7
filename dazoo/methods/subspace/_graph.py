"""Nearest-neighbour graphs of samples and their Laplacians, dense for few samples and sparse for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.linalg.linear import rows_per_block, unit_rows

DENSE_LIMIT = 10_000  # samples of both domains: methods that form several such matrices stay near 4 GiB


def fits_dense(n: int) -> bool:
    """Whether (n, n) matrices may be formed; methods that have a sparse form use it otherwise."""
    return n <= DENSE_LIMIT


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


def sparse_spread(x: Tensor, neighbours: int) -> Any:
    """``scaled_by_degree(cosine_graph(x, neighbours))`` as a scipy sparse array (n, n), never formed densely.

    Neighbours are ranked in single precision, their cosines are computed in double precision.
    """
    from scipy.sparse import csr_array, diags_array

    n, unit = len(x), unit_rows(x).cpu()
    k, single = min(neighbours, n - 1), unit.to(torch.float32)
    columns = []
    size = rows_per_block(n)
    for start in range(0, n, size):
        cosines = single[start : start + size] @ single.T
        cosines.diagonal(start).fill_(-2.0)
        columns.append(cosines.topk(k, dim=1).indices)
    near = torch.cat(columns)
    values = torch.cat([torch.einsum("nd,nkd->nk", unit[i], unit[j]) for i, j in _blocks(n, near)]).clamp(min=0)
    graph = csr_array((values.numpy().ravel(), near.numpy().ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    graph = graph.maximum(graph.T)
    degree = graph.sum(axis=1)
    scale = diags_array(np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1e-300)), 0.0))
    return (scale @ graph @ scale).tocsr()


def _blocks(n: int, near: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Rows and their neighbours, a thousand at a time."""
    return list(zip(torch.arange(n).split(1000), near.split(1000)))


def spread_by(spread: Any, alpha: float, start: Tensor) -> Tensor:
    """(I - alpha S)^-1 ``start`` (n, C) for a sparse S (n, n) of ``sparse_spread``, by conjugate gradients."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import cg

    system = (eye_array(spread.shape[0]) - alpha * spread).tocsr()
    columns = [cg(system, column, rtol=1e-10)[0] for column in start.cpu().numpy().T]
    return torch.from_numpy(np.stack(columns, axis=1)).to(start)
