"""Symmetric eigenproblems, plain and generalised, and principal components."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.linalg.blas import all_finite, cholesky, eigh, product, solve_lower
from dazoo.ops.linalg.linear import fix_signs, second_moment, symmetrise

LANCZOS_SIZE, LANCZOS_SHARE = 400, 10


def leading_eigenvectors(a: Tensor, k: int, largest: bool = True, symmetric: bool = False) -> tuple[Tensor, Tensor]:
    """The ``k`` largest (or smallest) eigenvalues (k,) and orthonormal eigenvectors (d, k) of a symmetric ``a`` (d, d).

    Best first; signs as in ``fix_signs``. Only ``a``'s symmetric part counts; ``symmetric`` says it is all there is.
    """
    d = len(a)
    k = min(k, d)
    a = a if symmetric else symmetrise(a)
    if not all_finite(a):
        raise torch.linalg.LinAlgError("the matrix holds NaN or infinite values")
    if a.device.type == "cpu" and k < d:
        found = _lanczos(a, k) if largest and d >= LANCZOS_SIZE and LANCZOS_SHARE * k <= d else None
        if found is None:
            from scipy.linalg import eigh as some_pairs

            subset = (d - k, d - 1) if largest else (0, k - 1)
            found = some_pairs(a.numpy(), subset_by_index=subset, check_finite=False)
        values, vectors = (torch.from_numpy(v) for v in found)
    else:
        values, vectors = eigh(a)
        part = slice(d - k, d) if largest else slice(0, k)
        values, vectors = values[part], vectors[:, part]
    if largest:
        values, vectors = values.flip(0), vectors.flip(1)
    return values.to(a.dtype), fix_signs(vectors.to(a.dtype))


def _lanczos(a: Tensor, k: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The ``k`` largest eigenpairs, ascending, to machine precision by ARPACK, three times as fast as a reduction of
    all of ``a`` for few pairs of a large matrix; None where it does not converge."""
    from scipy.linalg.blas import dsymv
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    start = np.random.default_rng(0).standard_normal(len(a))
    matrix: Any = a.numpy()
    if a.dtype is torch.float64:  # reads half of the matrix, and memory is what a product with a vector waits for
        columns = np.asfortranarray(matrix.T if a.is_contiguous() else matrix)
        matrix = LinearOperator(matrix.shape, matvec=lambda v: dsymv(1.0, columns, v, lower=1), dtype=np.float64)
    try:
        values, vectors = eigsh(matrix, k=k, which="LA", v0=start.astype(a.numpy().dtype), ncv=min(3 * k, len(a)))
    except ArpackError:
        return None
    order = np.argsort(values)
    return values[order], np.ascontiguousarray(vectors[:, order])


def generalised_eigenvectors(a: Tensor, b: Tensor, k: int, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Solve ``a v = l b v`` for symmetric ``a`` and symmetric positive definite ``b`` (d, d), best first.

    Cholesky whitening b = L L' turns it into the symmetric problem (L^-1 a L^-T) u = l u with v = L^-T u, so no
    non-symmetric matrix ever reaches an eigensolver.

    Returns:
        eigenvalues (k,) and b-orthonormal eigenvectors (d, k).
    """
    lower = torch.linalg.cholesky(symmetrise(b))
    half = torch.linalg.solve_triangular(lower, symmetrise(a), upper=False)
    whitened = torch.linalg.solve_triangular(lower, half.T, upper=False)
    values, vectors = leading_eigenvectors(whitened, k, largest)
    return values, fix_signs(torch.linalg.solve_triangular(lower.T, vectors, upper=True))


def root_of(a: Tensor) -> Tensor:
    """A root (d, d) with root root' = ``a`` for a symmetric positive semi-definite ``a`` (d, d): its Cholesky factor,
    or where it is singular, as constant features make it, the roots of its eigenvalues."""
    try:
        return cholesky(a)
    except torch.linalg.LinAlgError:
        values, vectors = eigh(a)
        return vectors * values.clamp(min=0).sqrt()


def unit_columns(vectors: Tensor) -> Tensor:
    """Columns scaled to Euclidean norm 1; zero columns stay zero."""
    norms = vectors.norm(dim=0, keepdim=True)
    return vectors / torch.where(norms > 0, norms, torch.ones_like(norms))


def principal_components(
    x: Tensor, k: int, moments: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """PCA of ``x`` (n, d): mean (d,), the leading variances (k,), orthonormal directions (d, k).

    Primal (d, d) when d <= n, else through the (n, n) Gram matrix; k is cut to the numerical rank, at least 1.
    ``moments``: mean and unbiased covariance of ``x`` where they are known, for the primal problem.
    """
    n, d = x.shape
    if moments is not None:
        values, vectors = leading_eigenvectors(moments[1], k)
        keep = _rank(values)
        return moments[0], values[:keep].clamp(min=0), vectors[:, :keep]
    mean = x.mean(dim=0)
    centred = x - mean
    scale = max(n - 1, 1)
    if d <= n:
        values, vectors = leading_eigenvectors(second_moment(centred) / scale, k)
        keep = _rank(values)
        return mean, values[:keep].clamp(min=0), vectors[:, :keep]
    values, left = leading_eigenvectors(second_moment(centred.T) / scale, k)
    keep = _rank(values)
    directions = unit_columns(product(centred.T, left[:, :keep]))
    if values[0] <= 0:
        directions = torch.eye(d, 1, dtype=x.dtype, device=x.device)
    return mean, values[:keep].clamp(min=0), fix_signs(directions)


def span(x: Tensor) -> Tensor | None:
    """An orthonormal basis (d, r) of the row space of ``x`` (n, d) when n < d, else None.

    Eigenproblems whose solutions lie in that span can be solved in r <= n coordinates instead of d.
    """
    n, d = x.shape
    if n >= d:
        return None
    values, left = eigh(second_moment(x.T))
    keep = values > values[-1].clamp(min=0) * 1e-12
    if not bool(keep.any()):
        return torch.eye(d, 1, dtype=x.dtype, device=x.device)
    basis = product(x.T, left[:, keep].flip(1) / values[keep].flip(0).sqrt())
    # orthonormal up to what rounding took from small directions, which one Cholesky step gives back
    lower = cholesky(second_moment(basis))
    return solve_lower(lower, basis.T).T.contiguous()


def _rank(values: Tensor) -> int:
    """How many leading eigenvalues are above rounding error, at least 1."""
    return max(1, int((values > values[0].clamp(min=0) * 1e-12).sum()))


def low_rank_pencil(a: Tensor, factor: Tensor, ridge: float, k: int) -> tuple[Tensor, Tensor]:
    """Leading solutions of ``a v = l (ridge I + factor factor') v``: ``a`` (d, d) symmetric, ``factor`` (d, r), r << d.

    The inverse root of the right side is known in closed form from the thin SVD factor = Q diag(s) R':
    (ridge I + Q s^2 Q')^(-1/2) = ridge^(-1/2) (I - Q diag(1 - sqrt(ridge / (ridge + s^2))) Q'), so whitening costs
    O(d^2 r) and only one symmetric eigenproblem remains.

    Returns:
        eigenvalues (k,), largest first, and eigenvectors (d, k) that are orthonormal in the right side's inner product.
    """
    q, s, _ = torch.linalg.svd(factor, full_matrices=False)
    shrink = 1 - (ridge / (ridge + s.square())).sqrt()
    half = a - product(q * shrink, product(q.T, a))
    whitened = half - product(product(half, q) * shrink, q.T)
    values, u = leading_eigenvectors(whitened / ridge, k)
    return values, fix_signs((u - (q * shrink) @ (q.T @ u)) / ridge**0.5)


def low_rank_pencil_of_rows(rows: Tensor, factor: Tensor, ridge: float, k: int) -> tuple[Tensor, Tensor]:
    """``low_rank_pencil`` for ``a`` = rows'rows with fewer ``rows`` (n, d) than features, through an (n, n) problem.

    Solutions of eigenvalue 0 are left out, so there are at most as many as the rank of ``rows``, and at least one.
    """
    q, s, _ = torch.linalg.svd(factor, full_matrices=False)
    q_shrunk = q * (1 - (ridge / (ridge + s.square())).sqrt())
    whitened = rows - product(product(rows, q), q_shrunk.T)
    values, left = leading_eigenvectors(second_moment(whitened.T) / ridge, k)
    keep = _rank(values)
    u = unit_columns(product(whitened.T, left[:, :keep]))
    return values[:keep], fix_signs((u - q_shrunk @ (q.T @ u)) / ridge**0.5)
