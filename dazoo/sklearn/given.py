"""What estimators of ``dazoo.sklearn`` are given, checked: samples, domains, and weights as repeated rows."""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_REPEATS = 10
"""Mean of whole-number weights up to which a weight of k is the row k times."""


def domains(given: Any, n: int, needs_source: bool = True) -> np.ndarray:
    """``sample_domain`` (n,): whole numbers, positive for sources and negative for targets.

    Raises:
        ValueError: other numbers, or no source where ``needs_source``.
    """
    found = np.asarray(given)
    whole = found.shape == (n,) and np.issubdtype(found.dtype, np.number) and bool((found == np.round(found)).all())
    if not whole or bool((found == 0).any()):
        raise ValueError(
            f"sample_domain must hold a positive (source) or negative (target) whole number for each of {n} samples"
        )
    if needs_source and not (found > 0).any():
        raise ValueError("sample_domain names no source; source samples have positive numbers")
    return found.astype(np.int64)


def length(x: Any) -> int:
    """Number of samples of anything that has rows."""
    return int(x.shape[0] if getattr(x, "shape", ()) else len(x))


def take(x: Any, rows: np.ndarray) -> Any:
    """Rows of arrays, frames, sparse matrices and lists; ``rows`` are indices (m,) or a mask (n,)."""
    at = np.flatnonzero(rows) if rows.dtype == bool else rows
    if hasattr(x, "iloc"):
        return x.iloc[at]
    if hasattr(x, "shape"):
        return x[at]
    return [x[int(i)] for i in at]


def is_raw(x: Any) -> bool:
    """Whether dazoo's own reading takes these samples, and not scikit-learn's: texts, frames with words or gaps,
    pictures, series and recordings."""
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        from dazoo.data.raw_input import is_table

        return is_table(x)
    if hasattr(x, "tocsr"):
        return False
    if hasattr(x, "ndim") and hasattr(x, "dtype"):
        return x.ndim > 2 or (x.ndim == 1 and length(x) > 0 and _all_texts(np.asarray(x)))
    if not isinstance(x, (list, tuple)) or not x:
        return False
    return _all_texts(x) or any(getattr(row, "ndim", 1) > 1 for row in x) or _ragged(x)


def _all_texts(rows: Any) -> bool:
    return all(isinstance(row, str) for row in rows)


def _ragged(x: Any) -> bool:
    """Whether these are arrays of unlike length."""
    return all(isinstance(row, np.ndarray) for row in x) and len({row.shape for row in x}) > 1


def repeats(weights: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """How often each row occurs (n,) under ``weights`` (n,).

    Whole weights of mean at most ``MOST_REPEATS`` are taken as they are. Others are scaled to mean 1 and drawn
    systematically, over rows in the order of ``y`` (n,) and at random among equals:

        c_i = floor(W_i + u) - floor(W_{i-1} + u),    W_i = w_1 + .. + w_i,    u ~ U(0, 1)

    so that E c = w, no row differs from its weight by 1 or more, and no class by more than 1.

    Raises:
        ValueError: all weights are zero.
    """
    total = float(weights.sum())
    if total <= 0:
        raise ValueError("all entries of sample_weight are zero; no source sample is left to learn from")
    if bool((weights == np.round(weights)).all()) and total <= MOST_REPEATS * len(weights):
        return weights.astype(np.int64)
    scaled = weights * (len(weights) / total)
    if np.allclose(scaled, 1.0, rtol=1e-9, atol=0.0):
        return np.ones(len(weights), dtype=np.int64)
    mixed = rng.permutation(len(weights))
    order = mixed[np.argsort(y[mixed], kind="stable")]
    counts = np.empty(len(weights), dtype=np.int64)
    start = rng.uniform()
    counts[order] = np.diff(np.floor(np.cumsum(scaled[order]) + start), prepend=0.0).astype(np.int64)
    return counts
