"""The nearest of many samples, exactly, at the speed of single precision."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.linalg.blas import plain

# tiles of the matrix of all pairs that stay in a processor's cache
ROWS, COLUMNS = 1024, 2048
ENTRIES = 1 << 21
FEW = 8  # pairs in doubt are looked at one by one where they are less than an eighth of all
UNIT = 2.0**-24  # unit roundoff of single precision


def nearest(x: Tensor, anchors: Tensor) -> Tensor:
    """Row (n,) of the nearest anchor of every sample; distances that agree to rounding are ties, for the lower row.

    Ranks r_j = x'a_j - ||a_j||^2 / 2 of centred samples are computed in single precision, their errors are at most
    e_j = (d + 16) u (||x|| ||a_j|| + ||a_j||^2 / 2), u the unit roundoff. Where r_j - e_j of one anchor exceeds
    r_k + e_k of all others it is the nearest one; samples without such an anchor are ranked in double precision, among
    the anchors that may be theirs where those are few.

    Args:
        x, anchors: (n, d) and (m, d), finite double precision matrices on the CPU (``suited``).
    """
    x_, a_ = x.numpy(), anchors.numpy()
    centre = a_.mean(axis=0)
    left, norm_x = _single(x_, centre)
    right, norm_a = _single(a_, centre)
    longest = max(float(norm_x.max()), float(norm_a.max()))
    if not 1e-12 < longest < 1e15:
        return torch.from_numpy(_double(x_, a_, centre))
    # two extra columns turn the products into upper bounds r_j + e_j
    share = np.float32((a_.shape[1] + 16) * UNIT)
    left[:, -2], left[:, -1] = 1.0, norm_x * share
    right[:, -2], right[:, -1] = (share - 1) * np.square(norm_a) / 2, norm_a
    found, open_ = np.empty(len(x_), np.int64), np.empty(len(x_), bool)
    rows = min(ROWS, len(x_))
    columns = max(COLUMNS, ENTRIES // rows)
    tile = np.empty(rows * min(columns, len(a_)), np.float32)
    pairs: list[np.ndarray] = []
    for i in range(0, len(x_), rows):
        first, second, at, ranks = _best_two(left[i : i + rows], right, columns, tile)
        error = share * (norm_x[i : i + rows] * norm_a[at] + np.square(norm_a[at]) / 2)
        low = first - 2 * error
        found[i : i + rows], open_[i : i + rows] = at, low <= second
        doubtful = np.flatnonzero(low <= second)
        if ranks is not None and len(doubtful):  # all anchors in one tile, which still holds the bounds
            row, column = np.nonzero(ranks[doubtful] >= low[doubtful, None])
            pairs.append(np.stack([i + doubtful[row], column]))
    if open_.any():
        some = np.concatenate(pairs, axis=1) if pairs else None
        if some is None or some.shape[1] * FEW > open_.sum() * len(a_):
            found[open_] = _double(x_[open_], a_, centre)
        else:
            found[open_] = _among(x_, a_, centre, some[0], some[1])
    return torch.from_numpy(found)


def suited(x: Tensor, anchors: Tensor) -> bool:
    """Whether ``nearest`` can take these samples."""
    return plain(x, anchors) and x.dtype is torch.float64 and len(x) > 0 and len(anchors) > 1


def _single(x: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centred samples in single precision with two spare columns, and their norms."""
    out = np.empty((len(x), x.shape[1] + 2), np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        np.subtract(x, centre, out=out[:, :-2], casting="same_kind")
        return out, np.sqrt(np.einsum("ij,ij->i", out[:, :-2], out[:, :-2]))


def _double(x: np.ndarray, anchors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The nearest anchors (n,) in double precision, the lowest of those within the rounding error of the best."""
    x, anchors = x - centre, anchors - centre
    half = np.einsum("ij,ij->i", anchors, anchors) / 2
    size = np.sqrt(np.einsum("ij,ij->i", x, x))
    error = (x.shape[1] + 16) * 2.0**-53 * (size * np.sqrt(2 * half.max()) + half.max())
    found = np.empty(len(x), np.int64)
    rows = max(1, ENTRIES // len(anchors))
    for i in range(0, len(x), rows):
        ranks = half - x[i : i + rows] @ anchors.T
        limit = ranks.min(axis=1) + 2 * error[i : i + rows]
        found[i : i + rows] = (ranks <= limit[:, None]).argmax(axis=1)
    return found


def _among(x: np.ndarray, anchors: np.ndarray, centre: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """``_double`` for the samples in ``row`` (p,), ascending, each among the anchors ``column`` (p,) beside it."""
    which, start = np.unique(row, return_index=True)
    group = np.repeat(np.arange(len(which)), np.diff([*start, len(row)]))
    a = anchors - centre
    half = np.einsum("ij,ij->i", a, a) / 2
    own = x[which] - centre
    ranks = np.empty(len(row))
    for i in range(0, len(row), ROWS):
        part = slice(i, i + ROWS)
        ranks[part] = half[column[part]] - np.einsum("ij,ij->i", own[group[part]], a[column[part]])
    size = np.sqrt(np.einsum("ij,ij->i", own, own))
    error = (x.shape[1] + 16) * 2.0**-53 * (size * np.sqrt(2 * half.max()) + half.max())
    limit = np.minimum.reduceat(ranks, start) + 2 * error
    near = np.where(ranks <= limit[group], column, len(anchors))
    return np.minimum.reduceat(near, start)


def _best_two(
    block: np.ndarray, right: np.ndarray, columns: int, tile: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Largest and second largest entry of every row of ``block right'``, the column of the largest, and all entries
    where they fit into one tile."""
    each = np.arange(len(block))
    first = np.full(len(block), -np.inf, np.float32)
    second, at = first.copy(), np.zeros(len(block), np.int64)
    for j in range(0, len(right), columns):
        part = right[j : j + columns]
        ranks = np.matmul(block, part.T, out=tile[: len(block) * len(part)].reshape(len(block), len(part)))
        best = ranks.argmax(axis=1)
        top = ranks[each, best]
        ranks[each, best] = -np.inf
        if len(part) == len(right):
            after = ranks.max(axis=1)
            ranks[each, best] = top
            return top, after, best, ranks
        second = np.maximum(np.maximum(second, ranks.max(axis=1)), np.minimum(first, top))
        at = np.where(top > first, best + j, at)
        first = np.maximum(first, top)
    return first, second, at, None
