"""Which of the things that people give as samples are raw (``data.raw``), and reading them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.arrays import DENSE_BYTES, numbers, some
from dazoo.data.raw import RAW_KINDS, Ragged, Raw, Sparse, Table, Texts

NAMES = tuple(dict.fromkeys(("vector", "image", "series", *RAW_KINDS)))


def read_raw(x: Any, whose: str, kind: str | None = None, dense: bool = False) -> Raw | None:
    """Raw samples; None where ``x`` is meant as an array of numbers.

    Args:
        kind: of ``Domain.kind``, where somebody said it.
        dense: whether numbers are wanted, whatever ``kind`` says.

    Raises:
        DazooError: ``x`` holds no samples of the kind that somebody said.
    """
    if kind is not None and kind not in NAMES:
        raise UnknownName(f"there is no kind of samples {kind!r}: {nearest(str(kind), NAMES)}")
    if isinstance(x, Raw) or dense:
        return x if isinstance(x, Raw) else None
    if kind == "text" or (kind is None and _is_texts(x)):
        return _texts(x, whose)
    if kind == "table" or (kind is None and is_table(x)):
        return _table(x, whose)
    if _is_sparse(x) and (kind == "sparse" or _too_large(x)):
        return _sparse(x, whose)
    if kind == "sparse":
        return _dense_as_sparse(x, whose)
    if kind in ("audio", "series", None) and _is_ragged(x):
        return Ragged.of([np.asarray(row, dtype=np.float32) for row in x], kind or "series")
    if kind == "audio":
        return Ragged.of(_recordings(x, whose), "audio")
    return None


def _sparse(x: Any, whose: str) -> Sparse:
    if getattr(x, "ndim", 2) != 2:
        raise DazooError(f"{whose} has the shape {tuple(x.shape)}; one sample is a matrix of one row: x[[0]]")
    return Sparse(x.tocsr())


def _dense_as_sparse(x: Any, whose: str) -> Sparse:
    from scipy import sparse

    dense, _ = numbers(x, whose)
    if dense.ndim != 2:
        raise DazooError(f"{whose} has the shape {tuple(dense.shape)}; sparse samples are a matrix (n, features)")
    return Sparse(sparse.csr_matrix(dense.numpy()))


def is_table(x: Any) -> bool:
    """Whether ``x`` is a frame with words, dates or gaps in it."""
    if not (hasattr(x, "columns") and (hasattr(x, "dtypes") or hasattr(x, "column_names"))):
        return False
    frame = _frame(x)
    if frame is None or frame.shape[1] == 0 or len(set(frame.columns)) < frame.shape[1]:
        return False
    import pandas as pd

    numeric = [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_complex_dtype(t) for t in frame.dtypes]
    return not all(numeric) or bool(frame.isna().any(axis=None))


def _texts(x: Any, whose: str) -> Texts:
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        if x.shape[1] != 1:
            raise DazooError(f"{whose} has {x.shape[1]} columns; texts are one column, e.g. frame['text']")
        x = x.iloc[:, 0]
    if isinstance(x, (str, bytes)) or not hasattr(x, "__len__"):
        raise DazooError(f"{whose} must be a list of texts, not {type(x).__name__}; put one text into a list")
    if hasattr(x, "ndim") and x.ndim == 2 and x.shape[1] == 1:
        x = np.asarray(x)[:, 0]
    rows = list(x)
    for i, text in enumerate(rows):
        if not isinstance(text, str):
            lacks = text is None or (isinstance(text, float) and text != text)
            what = "a missing value" if lacks else f"{type(text).__name__} ({str(text)[:40]})"
            raise DazooError(f"{whose} holds {what} in row {i}, no text; drop the row, or give an empty text")
    return Texts.of(rows)


def _recordings(x: Any, whose: str) -> list[np.ndarray]:
    """Recordings (length,) or (channels, length) from an array of them, or a list of arrays or lists."""
    try:
        rows = [np.asarray(row, dtype=np.float32) for row in x]
    except (TypeError, ValueError):
        rows = []
    if not rows or any(row.ndim not in (1, 2) for row in rows):
        raise DazooError(f"{whose} must be recordings (n, length) or (n, channels, length), or a list of them")
    return rows


def _table(x: Any, whose: str) -> Table:
    if hasattr(x, "columns") and (hasattr(x, "dtypes") or hasattr(x, "column_names")):
        frame = _frame(x)
        if frame is not None:
            names = [str(c) for c in frame.columns]
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise DazooError(f"{whose} has several columns called {some(twice)}; rename them")
            return Table(frame.set_axis(names, axis=1).reset_index(drop=True))
    import pandas as pd

    try:
        return Table(pd.DataFrame(x).rename(columns=str))
    except (TypeError, ValueError) as error:
        raise DazooError(f"{whose} makes no table ({error}); give a data frame with a row per sample") from None


def _frame(x: Any) -> Any:
    if type(x).__module__.startswith("pandas"):
        return x
    try:
        return x.to_pandas()
    except Exception:  # of any other library's frames; the reader of arrays says what is wrong
        return None


def _is_texts(x: Any) -> bool:
    """Whether these are texts by themselves: one string per sample, and not all of them numbers."""
    if isinstance(x, np.ndarray):
        rows: Sequence[Any] = x.tolist() if x.ndim == 1 and x.dtype.kind in "OUT" else ()
    elif type(x).__module__.startswith("pandas") and getattr(x, "ndim", 0) == 1:
        rows = x.tolist()
    else:
        rows = x if isinstance(x, (list, tuple)) else ()
    if not len(rows) or not all(isinstance(row, str) for row in rows):
        return False
    return not all(_is_number(row) for row in rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_sparse(x: Any) -> bool:
    return type(x).__module__.startswith("scipy.sparse") and hasattr(x, "tocsr")


def _too_large(x: Any) -> bool:
    return int(np.prod(x.shape, dtype=np.int64)) * x.dtype.itemsize > DENSE_BYTES


def _is_ragged(x: Any) -> bool:
    """Whether these are arrays of numbers that differ in length alone."""
    if not isinstance(x, (list, tuple)) or len(x) < 2:
        return False
    shapes = {tuple(row.shape) for row in x if hasattr(row, "shape")}
    if not all(hasattr(row, "shape") for row in x) or len(shapes) < 2 or {len(s) for s in shapes} - {1, 2}:
        return False
    return len({s[:-1] for s in shapes}) == 1
