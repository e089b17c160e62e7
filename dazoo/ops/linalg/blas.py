"""Dense products, eigenproblems and checks of plain CPU matrices, by numpy.

numpy's OpenBLAS multiplies up to twice as fast as torch's MKL on AMD processors and about as fast on Intel's, its
eigensolver is a quarter faster, and its reductions over matrices several times. Everything that torch alone can do
(other devices, gradients, other dtypes) stays with torch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FLOATS = (torch.float64, torch.float32)


def plain(*tensors: Tensor) -> bool:
    """Whether all are matrices or vectors of one floating dtype on the CPU through which no gradient flows."""
    first = tensors[0]
    return all(
        t.device.type == "cpu" and t.dtype is first.dtype and t.dtype in FLOATS and not t.requires_grad for t in tensors
    )


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` (n, m) of ``a`` (n, k) and ``b`` (k, m)."""
    return torch.from_numpy(a.numpy() @ b.numpy()) if plain(a, b) else a @ b


def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (d,), ascending, and eigenvectors (d, d) of a symmetric ``a`` (d, d).

    Raises:
        torch.linalg.LinAlgError: it does not converge, as for entries that are not finite.
    """
    if not plain(a):
        values, vectors = torch.linalg.eigh(a)
        return values, vectors
    try:
        found = np.linalg.eigh(a.numpy())
    except np.linalg.LinAlgError as error:
        raise torch.linalg.LinAlgError(str(error)) from error
    return torch.from_numpy(found[0]), torch.from_numpy(found[1])


def cholesky(a: Tensor) -> Tensor:
    """The lower triangular L (d, d) with L L' = ``a``, symmetric and positive definite.

    Raises:
        torch.linalg.LinAlgError: ``a`` is not positive definite.
    """
    if not plain(a) or not len(a):
        return torch.linalg.cholesky(a)
    from scipy.linalg.lapack import dpotrf, spotrf

    # the routine reads columns: its upper triangular factor of the transposed view is L in rows
    factorise = dpotrf if a.dtype is torch.float64 else spotrf
    upper, failed = factorise(a.numpy().T if a.is_contiguous() else a.numpy(), lower=0, clean=1)
    if failed or not np.isfinite(upper[-1:, -1]).all():
        raise torch.linalg.LinAlgError(f"the matrix is not positive definite (leading minor {failed})")
    return torch.from_numpy(upper.T)


def solve_lower(lower: Tensor, b: Tensor, transposed: bool = False) -> Tensor:
    """x (d, k) with L x = ``b``, or L'x = ``b`` where ``transposed``, for lower triangular L (d, d)."""
    if not plain(lower, b):
        return torch.linalg.solve_triangular(lower.T if transposed else lower, b, upper=transposed)
    from scipy.linalg import solve_triangular

    x = solve_triangular(lower.numpy(), b.numpy(), trans=int(transposed), lower=True, check_finite=False)
    return torch.from_numpy(x)


def cholesky_solve(lower: Tensor, b: Tensor) -> Tensor:
    """x (d, k) with L L' x = ``b`` for lower triangular L (d, d)."""
    if not plain(lower, b) or not len(lower):
        return torch.cholesky_solve(b, lower)
    from scipy.linalg.lapack import dpotrs, spotrs

    # the routine reads columns: L's rows are the columns of the upper triangular L'
    solve = dpotrs if b.dtype is torch.float64 else spotrs
    x, _ = solve(lower.numpy().T, b.numpy(), lower=0) if lower.is_contiguous() else solve(lower.numpy(), b.numpy(), 1)
    return torch.from_numpy(np.ascontiguousarray(x))


def inverse(a: Tensor) -> Tensor:
    """The inverse (d, d) of a symmetric positive definite ``a`` (d, d), exactly symmetric.

    Raises:
        torch.linalg.LinAlgError: ``a`` is not positive definite.
    """
    lower = cholesky(a)
    if not plain(lower) or not len(lower):
        return torch.cholesky_inverse(lower)
    from scipy.linalg.lapack import dpotri, spotri

    invert = dpotri if a.dtype is torch.float64 else spotri
    found, _ = invert(lower.contiguous().numpy().T, lower=0)  # the routine reads columns: L's rows are those of L'
    full = found + found.T  # below the diagonal are zeros
    full.flat[:: len(a) + 1] /= 2
    return torch.from_numpy(full)


def all_finite(x: Tensor) -> bool:
    """Whether no entry of ``x`` is NaN or infinite."""
    if plain(x):
        return bool(np.isfinite(x.numpy()).all())
    return bool(torch.isfinite(x).all())
