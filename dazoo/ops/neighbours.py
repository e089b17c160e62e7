"""The nearest of many samples, exactly, at the speed of single precision."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.blas import plain

# tiles of the matrix of all pairs that stay in a processor's cache
ROWS, COLUMNS = 1024, 2048
ENTRIES = 1 << 21


def nearest_single(x: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest anchor (n,) of every row of ``x`` (n, d), and which answers (n,) rounding leaves open.

    Ranks x'a - ||a||^2 / 2 are computed in single precision after centring and scaling. An answer is settled where the
    best rank leads the second by more than twice the bound (d + 4) u (||x|| ||a|| + ||a||^2 / 2) on their errors,
    u = 2^-23 twice the unit roundoff; then it is what exact arithmetic gives. The others are the caller's to decide.
    Both (n, d) and (m, d) are plain CPU matrices without NaN or infinite entries.
    """
    x_, a_ = x.numpy(), anchors.numpy()
    (n, d), m = x_.shape, len(a_)
    centre = a_.mean(axis=0)
    a_, x_ = a_ - centre, x_ - centre
    sq_a, norm_x = np.einsum("ij,ij->i", a_, a_), np.sqrt(np.einsum("ij,ij->i", x_, x_))
    scale = max(float(np.sqrt(sq_a.max())), float(norm_x.max()))
    if not 1e-100 < scale < 1e100:
        return torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.bool)
    # an extra column adds -||a||^2 / 2 to the product
    left, right = np.empty((n, d + 1), np.float32), np.empty((m, d + 1), np.float32)
    np.divide(x_, scale, out=left[:, :d], casting="same_kind")
    np.divide(a_, scale, out=right[:, :d], casting="same_kind")
    left[:, d], right[:, d] = 1.0, -sq_a / (2 * scale**2)
    longest = float(np.sqrt(sq_a.max())) / scale
    error = (d + 4) * 2.0**-23 * (norm_x / scale * longest + longest**2 / 2) + 1e-35
    found, open_ = np.empty(n, np.int64), np.empty(n, bool)
    rows = max(1, min(ROWS, n))
    columns = max(COLUMNS, ENTRIES // rows)
    tile = np.empty(rows * min(columns, m), np.float32)
    for i in range(0, n, rows):
        block = left[i : i + rows]
        first, second, at = _best_two(block, right, columns, tile)
        found[i : i + rows] = at
        open_[i : i + rows] = first - second <= 2 * error[i : i + rows]
    return torch.from_numpy(found), torch.from_numpy(open_)


def nearest_double(x: Tensor, anchors: Tensor) -> Tensor:
    """Nearest anchor (n,) in double precision; distances that agree to within rounding are ties, for the lower row."""
    x_, a_ = x.numpy(), anchors.numpy()
    centre = a_.mean(axis=0)
    a_, x_ = a_ - centre, x_ - centre
    half = np.einsum("ij,ij->i", a_, a_) / 2
    longest = np.sqrt(2 * half.max())
    error = (x_.shape[1] + 4) * 2.0**-52 * (np.sqrt(np.einsum("ij,ij->i", x_, x_)) * longest + half.max())
    found = np.empty(len(x_), np.int64)
    rows = max(1, ENTRIES // len(a_))
    for i in range(0, len(x_), rows):
        ranks = half - x_[i : i + rows] @ a_.T
        limit = ranks.min(axis=1) + 2 * error[i : i + rows]
        found[i : i + rows] = (ranks <= limit[:, None]).argmax(axis=1)
    return torch.from_numpy(found)


def _best_two(
    block: np.ndarray, right: np.ndarray, columns: int, tile: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest and second largest entry of every row of ``block right'``, and the column of the largest."""
    each = np.arange(len(block))
    first = np.full(len(block), -np.inf, np.float32)
    second, at = first.copy(), np.zeros(len(block), np.int64)
    for j in range(0, len(right), columns):
        part = right[j : j + columns]
        ranks = np.matmul(block, part.T, out=tile[: len(block) * len(part)].reshape(len(block), len(part)))
        best = ranks.argmax(axis=1)
        top = ranks[each, best]
        ranks[each, best] = -np.inf
        second = np.maximum(np.maximum(second, ranks.max(axis=1)), np.minimum(first, top))
        at = np.where(top > first, best + j, at)
        first = np.maximum(first, top)
    return first, second, at


def worthwhile(x: Tensor, anchors: Tensor) -> bool:
    """Whether ``nearest_single`` can take these samples."""
    return plain(x, anchors) and x.dtype is torch.float64 and len(x) > 0 and len(anchors) > 1
