"""KDE ratio: importance weights from kernel density estimates. Shimodaira, JSPI 2000.

    w_i = (p_t(x_i) / p_s(x_i))^power,      p(x) = (1/n) sum_j prod_k N(x_k; x_j,k, h_k^2)
    h_k = n^(-1 / (d + 4)) std_k            (Scott's rule, per domain and feature)

for source samples x_i (d,). ``power`` 1 gives consistent weights, 0 none, between them less variance. Works in the log
domain and in blocks; nobody should expect density estimates to be good in hundreds of dimensions.

Evidence: tests/test_reweighting.py::test_kde_ratio_equals_scikit_learn, test_known_gaussian_ratio.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.reweighting._ratio import flattened
from dazoo.methods.shallow import Reweighting, pair
from dazoo.ops.linalg.blas import plain
from dazoo.ops.linalg.linear import distances_between, rows_per_block

FLOOR = 1e-3
MANY_PAIRS = 25_000_000  # above which single precision is worth its lines
FAR = 4096.0  # largest square norm, in bandwidths, at which single precision is enough
ROWS, COLUMNS = 256, 1024
FEW_ROWS, MANY_TERMS, PAIRS = 256, 50, 4096  # a pair by itself costs about fifty times what it does in a product


@register
class KDERatio(Reweighting):
    """Importance weights from kernel density estimates."""

    paper = Paper(
        title="Improving predictive inference under covariate shift by weighting the log-likelihood function",
        authors="Hidetoshi Shimodaira", year=2000, url="https://doi.org/10.1016/S0378-3758(00)00115-4",
        venue="Journal of Statistical Planning and Inference",
        deviations="the paper leaves the density estimator open, here Gaussian product kernels with Scott's rule; a "
        "feature's bandwidth is at least 1e-3 of that of both domains pooled, so that constant features do no harm; "
        "in many dimensions a few samples decide: it warns, and is for few features",
    )  # fmt: skip
    growth = 1.5
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    power: float = hp(1.0, 0.0, 1.0, help="exponent of the density ratio; 0 weights nothing", most=math.inf)

    def weights(self, seen: Seen, ctx: Context) -> Tensor:
        """The flattened ratio of both estimates."""
        return flattened(ctx.memo("kde_ratio", lambda: log_ratio(*pair(seen))), self.power)


def log_ratio(xs: Tensor, xt: Tensor) -> Tensor:
    """log p_t(x_i) - log p_s(x_i) at the source samples (n_s,)."""
    pooled = torch.cat([xs, xt]).std(dim=0)
    return log_density(xs, xt, pooled) - log_density(xs, xs, pooled)


def log_density(x: Tensor, data: Tensor, pooled: Tensor) -> Tensor:
    """log p(x) (n,) of the estimate on ``data`` (m, d); ``pooled`` (d,) is the scale that floors the bandwidths."""
    m, d = data.shape
    scale = torch.maximum(data.std(dim=0) if m > 1 else pooled, FLOOR * pooled)
    h = m ** (-1 / (d + 4)) * torch.where(scale > 0, scale, torch.ones_like(scale))
    offset = data.mean(0)
    x, data = (x - offset) / h, (data - offset) / h
    return log_sums(x, data) - math.log(m) - h.log().sum() - d / 2 * math.log(2 * math.pi)


def log_sums(x: Tensor, data: Tensor) -> Tensor:
    """log sum_j exp(-||x_i - data_j||^2 / 2) (n,); of many pairs in single precision, to about 1e-4."""
    out = x.new_full((len(x),), math.nan)
    if plain(x, data) and len(x) * len(data) > MANY_PAIRS:
        # rounding errors of a row are shares of its square norm; far columns add nothing to it
        near = x.square().sum(1) <= FAR
        for sums in (_few_terms, _single_sums):
            some = ~torch.isfinite(out) & (near | (sums is _few_terms))
            if bool(some.any()):
                out[some] = torch.from_numpy(sums(x[some].numpy(), data.numpy()))
    left = ~torch.isfinite(out)
    blocks = x[left].split(rows_per_block(len(data))) if bool(left.any()) else ()
    if blocks:
        out[left] = torch.cat([torch.logsumexp(-distances_between(b, data) / 2, 1) for b in blocks])
    return out


def _single_sums(x: np.ndarray, data: np.ndarray) -> np.ndarray:
    """``log_sums`` in single precision, by tiles that stay in a processor's cache; not finite where numbers overflow.

    x_i'y_j - ||y_j||^2 / 2 - shift_i is one product, shift_i the largest such number without shift in the first tile.
    """
    half = np.einsum("ij,ij->i", data, data)[:, None] / 2
    left = np.concatenate([x, np.full((len(x), 1), -1.0), np.zeros((len(x), 1))], 1).astype(np.float32)
    right = np.concatenate([data, half, np.ones((len(data), 1))], 1).astype(np.float32).T.copy()
    total = np.zeros(len(x))
    with np.errstate(over="ignore", divide="ignore"):
        for i in range(0, len(x), ROWS):
            block = left[i : i + ROWS]
            block[:, -1] = -(block @ right[:, :COLUMNS]).max(axis=1)
            for j in range(0, len(data), COLUMNS):
                ranks = block @ right[:, j : j + COLUMNS]
                np.maximum(
                    ranks, -80.0, out=ranks
                )  # what is below adds nothing, and its denormal exponentials are slow
                total[i : i + ROWS] += np.exp(ranks, out=ranks).sum(axis=1)
        logs: np.ndarray = np.log(total) - left[:, -1] - np.einsum("ij,ij->i", x, x) / 2
    return logs


def _few_terms(x: np.ndarray, data: np.ndarray) -> np.ndarray:
    """``log_sums`` of rows nearer to some of ``data`` than to the rest, so that few terms count: single precision finds
    those that may exceed e^-10 / m of the largest, double precision adds them up; NaN from the first rows on
    where they are many."""
    out, width, m = np.full(len(x), np.nan), x.shape[1], len(data)
    norms = np.sqrt(np.einsum("ij,ij->i", data, data))
    longest = float(norms.max())
    right = np.concatenate([data, norms[:, None] ** 2 / 2], 1).astype(np.float32).T.copy()
    for i in range(0, len(x), FEW_ROWS):
        rows = x[i : i + FEW_ROWS]
        left = np.concatenate([rows, np.full((len(rows), 1), -1.0)], 1).astype(np.float32)
        error = (width + 16) * 2.0**-24 * longest * (np.sqrt(np.einsum("ij,ij->i", rows, rows)) + longest)
        ranks = left @ right
        found = np.flatnonzero(ranks >= (ranks.max(axis=1) - 10 - math.log(m) - 2 * error)[:, None])
        if len(found) * MANY_TERMS > ranks.size:
            break
        row, column = np.divmod(found, m)
        value = np.empty(len(found))
        for k in range(0, len(found), PAIRS):
            gap = rows[row[k : k + PAIRS]]
            gap -= data[column[k : k + PAIRS]]
            value[k : k + PAIRS] = np.einsum("ij,ij->i", gap, gap) / -2
        top = np.maximum.reduceat(value, np.searchsorted(row, np.arange(len(rows))))
        out[i : i + FEW_ROWS] = top + np.log(np.bincount(row, np.exp(value - top[row]), len(rows)))
    return out
