"""Second moments, matrix functions, distances and kernels of samples given as rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.kernels import squared_distances
from dazoo.ops.linalg.blas import cholesky, cholesky_solve, eigh, plain, product

# 48 MiB of float64: above the size from which malloc maps and unmaps whole blocks
BLOCK_ENTRIES = 6 << 20


def mean_and_covariance(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean (d,) and unbiased covariance (d, d) of ``x`` (n, d).

    With ``weights`` (n,) the weighted mean and the weighted covariance without bias correction.
    """
    if weights is None:
        mean = x.mean(dim=0)
        centred = x - mean
        return mean, second_moment(centred) / max(len(x) - 1, 1)
    share = weights / weights.sum()
    mean = share @ x
    centred = x - mean
    return mean, (centred * share[:, None]).T @ centred


def second_moment(x: Tensor) -> Tensor:
    """x'x (d, d) for ``x`` (n, d), exactly symmetric; on the CPU by BLAS's rank-k update, at half the work."""
    if not plain(x):
        return symmetrise(x.T @ x)
    rows = x.numpy()
    return torch.from_numpy(rows.T @ rows)  # numpy calls the update where both factors are one matrix


def spectral_product(vectors: Tensor, values: Tensor) -> Tensor:
    """``vectors diag(values) vectors'`` (d, d) for ``vectors`` (d, r) and ``values`` (r,) >= 0, exactly symmetric."""
    return second_moment((vectors * values.sqrt()).T)


def symmetrise(a: Tensor) -> Tensor:
    """The symmetric part (a + a') / 2."""
    return (a + a.T) / 2


def matrix_power(a: Tensor, power: float, floor: float = 1e-12) -> Tensor:
    """``a`` ** power for a symmetric positive semi-definite ``a`` (d, d).

    Eigenvalues below ``floor`` times the largest are raised to it for positive powers' sake of finiteness; a zero
    matrix is treated as ``floor`` times the identity.
    """
    values, vectors = eigh(symmetrise(a))
    top = values[-1].clamp(min=0)
    low = torch.where(top > 0, floor * top, torch.full_like(top, floor))
    return spectral_product(vectors, values.clamp(min=low).pow(power))


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues ``values`` (r,) >= 0 and orthonormal eigenvectors ``vectors`` (d, r) of a covariance; it vanishes on
    the rest of the space."""

    values: Tensor
    vectors: Tensor

    @property
    def full(self) -> bool:
        """Whether there are as many eigenvectors as features."""
        return self.vectors.shape[0] == self.vectors.shape[1]

    def power(self, ridge: float, power: float) -> Tensor:
        """(cov + ridge I) ** power (d, d) for ``ridge`` > 0."""
        if self.full:
            return spectral_product(self.vectors, (self.values + ridge).pow(power))
        out = spectral_product(self.vectors, self.lift(ridge, power).abs()) * (1.0 if power > 0 else -1.0)
        out.diagonal().add_(ridge**power)
        return out

    def lift(self, ridge: float, power: float) -> Tensor:
        """l (r,) with (cov + ridge I) ** power = ridge ** power I + V diag(l) V'."""
        return (self.values + ridge).pow(power) - ridge**power

    def through(self, x: Tensor, ridge: float, power: float) -> Tensor:
        """``x`` (n, d) times ``power(ridge, power)``, for few eigenvectors without that matrix."""
        if 2 * len(self.values) >= len(self.vectors):
            return product(x, self.power(ridge, power))
        return x * ridge**power + product(product(x, self.vectors) * self.lift(ridge, power), self.vectors.T)


def spectrum(x: Tensor, cov: Tensor | None = None) -> Spectrum:
    """The spectrum of the covariance of ``x`` (n, d), which may be given as ``cov``; with n < d from the (n, n) Gram
    matrix, without what is below rounding error."""
    n, d = x.shape
    if n >= d:
        values, vectors = eigh(mean_and_covariance(x)[1] if cov is None else cov)
        return Spectrum(values.clamp(min=0), vectors)
    centred, scale = x - x.mean(dim=0), max(n - 1, 1)
    values, left = eigh(second_moment(centred.T) / scale)
    keep = values > values[-1].clamp(min=0) * 1e-12
    return Spectrum(values[keep], product(centred.T, left[:, keep] / (scale * values[keep]).sqrt()))


def ridge_power(x: Tensor, ridge: float, power: float) -> Tensor:
    """(cov(x) + ridge I) ** power (d, d) for ``x`` (n, d) and ``ridge`` > 0."""
    return spectrum(x).power(ridge, power)


def ridge_powers(x: Spectrum, p: float, y: Spectrum, q: float, ridge: float) -> Tensor:
    """(cov(x) + ridge I) ** p (cov(y) + ridge I) ** q (d, d), without a (d, d) power of a side that has n < d."""
    if x.full and y.full:
        return product(x.power(ridge, p), y.power(ridge, q))
    v, a, w, b = x.vectors, x.lift(ridge, p), y.vectors, y.lift(ridge, q)
    if x.full:
        full = x.power(ridge, p)
        return full * ridge**q + product(product(full, w) * b, w.T)
    if y.full:
        full = y.power(ridge, q)
        return full * ridge**p + product(v, product(v.T, full) * a[:, None])
    across = product(product(v.T, w) * b, w.T)
    out = product(torch.cat([v * a, w * b], dim=1), torch.cat([ridge**q * v.T + across, ridge**p * w.T]))
    out.diagonal().add_(ridge ** (p + q))
    return out


def ridged(cov: Tensor, share: float) -> Tensor:
    """``cov`` (d, d) plus ``share`` of its mean diagonal entry on the diagonal; a zero matrix gets ``share`` itself."""
    level = cov.diagonal().mean()
    out = cov.clone()
    out.diagonal().add_(share * torch.where(level > 0, level, torch.ones_like(level)))
    return out


@dataclass(frozen=True)
class Inner:
    """Inner products ``gram`` (n, n) of samples minus ``centre`` (d,), for several fits on the same samples."""

    centre: Tensor
    gram: Tensor


def inner(x: Tensor) -> Inner:
    """The inner products of ``x`` (n, d) around its mean."""
    mean = x.mean(dim=0)
    return Inner(mean, second_moment((x - mean).T))


class RidgeFit:
    """Ridge regression min ||y - x w - b||^2 + ridge ||w||^2 on fixed ``x`` (n, d), factorised once.

    The (d, d) normal equations when d <= n, the (n, n) dual ones otherwise; b is not penalised. Where the inner
    products G of ``x`` are ``known``, little more than a factorisation is left of the dual problem
    (G + ridge W^-1) a + b 1 = y,  1'a = 0,  w = x'a,  and it serves for somewhat more samples than features too.
    ``weights`` (n,) count as scaled to mean 1; samples of weight 0 are left out.
    """

    def __init__(self, x: Tensor, ridge: float, weights: Tensor | None = None, known: Inner | None = None):
        self.kept: Tensor | None = None
        total = len(x)
        if weights is not None and int((some := weights > 0).sum()) < 0.9 * total:
            self.kept = torch.nonzero(some)[:, 0]
            x, weights = x[self.kept], weights[self.kept]
        self.known = known if known is not None and _dual_pays(x, ridge, known) else None
        if self.known is not None:
            self.x = x
            gram = self.known.gram if self.kept is None else self.known.gram[self.kept][:, self.kept]
            a = gram.clone()
            # weights too small to matter would overflow
            a.diagonal().add_(ridge if weights is None else ridge / (weights * (total / weights.sum())).clamp(1e-100))
            self.lower = cholesky(a)
            return
        share = torch.full((len(x),), 1.0 / len(x), dtype=x.dtype, device=x.device)
        self.share = share if weights is None else weights / weights.sum()
        self.mean = self.share @ x
        self.root = None if weights is None else (self.share * total).sqrt()[:, None]
        self.centred = x - self.mean
        if self.root is not None:
            self.centred *= self.root
        n, d = x.shape
        self.primal = d <= n
        a = second_moment(self.centred if self.primal else self.centred.T)
        a.diagonal().add_(ridge)
        self.lower = cholesky(a)

    def fit(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (d, k) and bias (k,) for targets ``y`` (n, k)."""
        if self.kept is not None:
            y = y[self.kept]
        if self.known is not None:
            u = cholesky_solve(self.lower, torch.cat([y, y.new_ones(len(y), 1)], dim=1))
            b = u[:, :-1].sum(0) / u[:, -1].sum()
            a = u[:, :-1] - u[:, -1:] * b
            w = product((self.x - self.known.centre).T, a)
            return w, b - self.known.centre @ w
        offset = self.share @ y
        centred = y - offset if self.root is None else self.root * (y - offset)
        if self.primal:
            w = cholesky_solve(self.lower, product(self.centred.T, centred))
        else:
            w = product(self.centred.T, cholesky_solve(self.lower, centred))
        return w, offset - self.mean @ w


def _dual_pays(x: Tensor, ridge: float, known: Inner) -> bool:
    """Whether the (n, n) problem of known inner products is less work than another one, and as exact."""
    n, d = x.shape
    if not plain(x, known.gram) or x.dtype is not torch.float64:
        return False
    if n <= d:
        return True
    # beyond d samples rounding errors of the null space are divided by the ridge
    return n**3 < 3 * n * d**2 + d**3 and float(known.gram.diagonal().sum()) < 1e8 * ridge


def fix_signs(vectors: Tensor) -> Tensor:
    """Columns with the sign that makes their entry of largest magnitude positive."""
    if not vectors.numel():
        return vectors
    rows = vectors.abs().argmax(dim=0)
    signs = torch.sign(vectors[rows, torch.arange(vectors.shape[1], device=vectors.device)])
    return vectors * torch.where(signs == 0, torch.ones_like(signs), signs)


def unit_rows(x: Tensor) -> Tensor:
    """Samples ``x`` (n, ...) scaled to Euclidean norm 1; samples of zeros stay zero."""
    flat = x.flatten(1)
    norms = flat.norm(dim=1, keepdim=True)
    return (flat / torch.where(norms > 0, norms, torch.ones_like(norms))).reshape(x.shape)


def distances_between(x: Tensor, y: Tensor) -> Tensor:
    """``squared_distances`` (n, m) of the rows of ``x`` (n, d) and ``y`` (m, d), by BLAS for plain matrices.

    Rows are taken relative to the mean of ``y``: a common offset costs no precision, and what is found for a row does
    not depend on the other rows of ``x``. Where ``y`` is ``x`` itself on the CPU, by a rank-k update at half the work,
    symmetric and with a zero diagonal.
    """
    if not plain(x, y) or not len(y):
        return squared_distances(x, None if y is x else y)
    centre = y.mean(dim=0)
    if y is x and x.dtype is torch.float64 and min(x.shape) >= 64:
        return distances_within(second_moment((x - centre).T))
    x_, y_ = (x - centre).numpy(), (y - centre).numpy()
    out = x_ @ y_.T
    out *= -2.0
    out += np.einsum("ij,ij->i", x_, x_)[:, None]
    out += np.einsum("ij,ij->i", y_, y_)
    return torch.from_numpy(np.maximum(out, 0.0, out=out))


def distances_within(gram: Tensor) -> Tensor:
    """Squared distances (n, n) of samples with the inner products ``gram``, a plain matrix that is overwritten."""
    within = gram.numpy()
    norms = within.diagonal().copy()
    within *= -2.0
    within += norms[:, None]
    within += norms
    return torch.from_numpy(np.maximum(within, 0.0, out=within))


def total_variance(x: Tensor) -> Tensor:
    """The sum () of the unbiased variances of the features of ``x`` (n, d)."""
    if not plain(x):
        return x.var(0).sum()
    centred = (x - x.mean(dim=0)).numpy().ravel()
    return torch.tensor(np.dot(centred, centred) / (len(x) - 1) if len(x) > 1 else np.nan, dtype=x.dtype)


def middle_distance(sq: Tensor) -> Tensor:
    """The lower median () of the entries above the diagonal of ``sq`` (n, n)."""
    if not plain(sq):
        rows, cols = torch.triu_indices(len(sq), len(sq), offset=1, device=sq.device)
        return sq[rows, cols].median()
    above = np.concatenate([row[i + 1 :] for i, row in enumerate(sq.numpy())])
    return torch.tensor(np.partition(above, (len(above) - 1) // 2)[(len(above) - 1) // 2], dtype=sq.dtype)


def median_gamma(x: Tensor, limit: int = 2000) -> Tensor:
    """1 / (median squared distance of distinct pairs), the width of ``gram("rbf", ...)`` by the median heuristic.

    At most ``limit`` evenly spaced rows enter, so the cost does not grow with n; coinciding rows give 1.
    """
    x = x[:: max(1, -(-len(x) // limit))]
    if len(x) < 2:
        return torch.ones((), dtype=x.dtype, device=x.device)
    middle = middle_distance(distances_between(x, x))
    return torch.where(middle > 0, 1 / middle.clamp(min=1e-300), torch.ones_like(middle))


def gram(kind: str, x: Tensor, y: Tensor, gamma: Tensor | float = 1.0) -> Tensor:
    """Kernel matrix (n, m): ``linear`` x'y, or ``rbf`` exp(-gamma ||x - y||^2)."""
    if kind == "linear":
        return product(x, y.T)
    if kind == "rbf":
        return torch.exp(-gamma * distances_between(x, y))
    raise ValueError(f"unknown kernel {kind!r}")


def rows_per_block(columns: int) -> int:
    """How many rows of a matrix with so many columns are computed at once."""
    return max(1, BLOCK_ENTRIES // max(columns, 1))
