"""Graphs of feature batches: spectra of their Laplacians, and votes of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.ops.kernels import squared_distances
from dazoo.ops.moments import safe_norm


def laplacian_spectrum(sq: Tensor, scale: Tensor) -> Tensor:
    """Ascending eigenvalues (n,) of ``I - D^-1/2 A D^-1/2``, ``A = exp(-sq / (2 scale))``, D its row sums: sq (n, n).

    In [0, 2]; the smallest is 0. Chung, Spectral Graph Theory, 1997.
    """
    a = torch.exp(-sq / (2.0 * scale))
    root = a.sum(1).rsqrt()
    eye = torch.eye(a.shape[0], dtype=a.dtype, device=a.device)
    return torch.linalg.eigvalsh(eye - root[:, None] * a * root[None, :])


def spectral_gap(fs: Tensor, ft: Tensor, walk: bool = False) -> Tensor:
    """Distance of the spectra of both batches' graphs, ``|Lambda_s - Lambda_t|``: fs (n, d), ft (n, d).

    The kernel's scale is the mean squared distance within the batches, without gradient. ``walk`` compares
    ``walk_singular_values`` instead. Xiao et al., NeurIPS 2023
    (SPA), https://arxiv.org/abs/2310.17594
    """
    if fs.shape[0] != ft.shape[0]:
        raise DazooError(
            f"spectra of graphs are compared at equal size, not {fs.shape[0]} and {ft.shape[0]} rows; use equal batches"
        )
    ds, dt = squared_distances(fs), squared_distances(ft)
    if walk:
        return safe_norm(walk_singular_values(ds) - walk_singular_values(dt))
    scale = ((ds.mean() + dt.mean()) / 2.0).detach().clamp_min(1e-30)
    return safe_norm(laplacian_spectrum(ds, scale) - laplacian_spectrum(dt, scale))


def walk_singular_values(sq: Tensor, sigma: float = 1.5) -> Tensor:
    """Descending singular values (n,) of ``D^-1 A``, ``A_ij = exp(-|f_i - f_j| / (2 sigma^2))``, A_ii = 0: sq (n, n).

    The graph of the program of SPA: distances are not squared, sigma is fixed, and the random walk's matrix, which is
    not symmetric, enters by its singular values.
    """
    zero = sq == 0
    distance = torch.where(zero, torch.zeros_like(sq), torch.where(zero, torch.ones_like(sq), sq).sqrt())
    a = torch.exp(-distance / (2.0 * sigma**2))
    a = a * (1.0 - torch.eye(a.shape[0], dtype=a.dtype, device=a.device))
    return torch.linalg.svdvals(a / a.sum(1, keepdim=True).clamp_min(1e-30))


def neighbour_vote(f: Tensor, scores: Tensor, k: int, temperature: float | Tensor = 1.0) -> Tensor:
    """Mean sharpened prediction of every row's k nearest other rows: f (n, d), scores (n, C) -> (n, C), rows sum to 1.

    Predictions are ``softmax(scores / temperature)``, divided by their class means and scaled to sum to 1 again, so
    that classes which are predicted often do not win for that alone. Neighbours by cosine.
    """
    z = functional.normalize(f, dim=1)
    q = functional.softmax(scores / temperature, dim=1)
    q = q / q.mean(0).clamp_min(1e-12)
    q = q / q.sum(1, keepdim=True)
    k = min(k, len(f) - 1)
    cosine = z @ z.T - 4.0 * torch.eye(len(z), dtype=z.dtype, device=z.device)
    return q[cosine.topk(k, dim=1).indices].mean(1)
