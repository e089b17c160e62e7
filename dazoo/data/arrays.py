"""Whatever people hold samples in, as a tensor of numbers: arrays, lists, tensors, frames, sparse and masked arrays.

Nothing about samples is decided here but that they are real numbers; ``dazoo.data.samples`` says what they mean. Every
input that cannot be read gets a message with the remedy for that very input.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError

DENSE_BYTES = 1 << 30
_TEXT = "code text as numbers first (one column per value, an embedding, TF-IDF)"
_DATES = "turn them into numbers first, e.g. days: (x - x.min()) / numpy.timedelta64(1, 'D')"
_SHAPES = "samples must be (n, features), (n, channels, length) or images (n, height, width, channels)"


def numbers(x: Any, whose: str) -> tuple[Tensor, tuple[str, ...]]:
    """``x`` as a dense tensor of real numbers in its own type, and the names of its columns where it has any.

    Args:
        x: an array, a tensor of any device, nested lists, a data frame, a sparse or a masked array.
        whose: whose samples they are, for messages.

    Raises:
        DazooError: there are no numbers in ``x``, or not as many in every sample; the message names the remedy.
    """
    if isinstance(x, Tensor):
        return _tensor(x, whose), ()
    if type(x).__module__.startswith("scipy.sparse") and hasattr(x, "toarray"):
        return _tensor(torch.from_numpy(_sparse(x, whose)), whose), ()
    if hasattr(x, "columns") and hasattr(x, "dtypes"):
        return _frame(x, whose)
    if isinstance(x, (list, tuple)) and x and all(isinstance(row, Tensor) for row in x):
        if len({row.shape for row in x}) > 1:
            raise DazooError(_ragged(whose))
        rows = [row.detach() for row in x]
        return _tensor(torch.stack([row if row.is_meta else row.cpu() for row in rows]), whose), ()
    return _tensor(torch.from_numpy(_plain(_array(x, whose), whose)), whose), ()


def _tensor(x: Tensor, whose: str) -> Tensor:
    if x.is_meta:
        raise DazooError(f"{whose} is a tensor without values (device 'meta'); give one on a device that holds them")
    x = x.detach().resolve_conj().resolve_neg()
    if x.layout is not torch.strided:
        if x.numel() * x.element_size() > DENSE_BYTES:
            raise DazooError(_too_large(whose, tuple(x.shape)))
        x = x.to_dense()
    if x.is_complex():
        raise DazooError(_complex(whose, "torch.cat([x.real, x.imag], 1)"))
    if x.is_quantized:
        x = x.dequantize()
    if x.ndim == 0:
        raise DazooError(f"{whose} is a single number; {_SHAPES}")
    if x.ndim == 1:
        advice = "one feature is x.reshape(-1, 1), one sample x.reshape(1, -1)"
        raise DazooError(f"{_SHAPES}, but {whose} has the shape {tuple(x.shape)}; {advice}")
    if x.numel() == 0 and len(x):
        raise DazooError(
            f"{whose} has {len(x)} samples without any feature (shape {tuple(x.shape)}); give some columns"
        )
    return x


def _array(x: Any, whose: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        missing = int(np.ma.getmaskarray(x).sum())
        if missing:
            raise DazooError(
                f"{whose} is a masked array with {missing} masked values; fill them in (x.filled) or drop their rows"
            )
        return np.asarray(x.data)
    if x is None or isinstance(x, (str, bytes, dict, set, frozenset)) or callable(x):
        raise DazooError(f"{whose} must be an array of numbers (n, ...), not {type(x).__name__}")
    if not hasattr(x, "__array__") and not hasattr(x, "__len__"):
        raise DazooError(
            f"{whose} must be an array of numbers (n, ...), not {type(x).__name__}; make a list or array of it"
        )
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        if "inhomogeneous" in str(error):
            raise DazooError(_ragged(whose)) from None
        raise DazooError(f"{whose} must be an array of numbers (n, ...), not {type(x).__name__}: {error}") from error


def _plain(x: np.ndarray, whose: str) -> np.ndarray:
    """Real numbers in native byte order, of a type that torch has, in writable memory without negative strides."""
    if x.dtype.names is not None:
        fields = ", ".join(x.dtype.names[:5])
        raise DazooError(
            f"{whose} is a structured array with the fields {fields}; give a data frame, or "
            "numpy.lib.recfunctions.structured_to_unstructured(x)"
        )
    if x.dtype.kind == "O":
        x = _objects(x, whose)
    if x.dtype.kind in "US":
        raise DazooError(f"{whose} holds text, no array of numbers; {_remedy_of_text(x)}")
    if x.dtype.kind in "Mm":
        raise DazooError(f"{whose} holds dates or times; {_DATES}")
    if x.dtype.kind == "c":
        raise DazooError(_complex(whose, "numpy.concatenate([x.real, x.imag], axis=1)"))
    if x.dtype.kind not in "biuf":
        raise DazooError(f"{whose} holds {x.dtype}, no array of numbers; convert it to floats")
    wider = {"uint16": np.int32, "uint32": np.int64, "uint64": np.float64}.get(x.dtype.name)
    if wider is not None or x.dtype.itemsize > 8:
        x = x.astype(wider or np.float64)
    x = np.ascontiguousarray(x.astype(x.dtype.newbyteorder("="), copy=False)).reshape(x.shape)
    return x if x.flags.writeable else _writable(x)


def _writable(x: np.ndarray) -> np.ndarray:
    """A copy of an array that must not be written to; of one in a file a private view, which copies what is written."""
    base = x
    while isinstance(base.base, np.ndarray):
        base = base.base
    if not isinstance(base, np.memmap) or base.filename is None:
        return x.copy()
    skipped = x.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return np.memmap(base.filename, x.dtype, "c", int(base.offset) + skipped, x.shape)


def _objects(x: np.ndarray, whose: str) -> np.ndarray:
    """An array of Python objects as one of numbers."""
    if x.ndim == 1 and len(x) and all(_is_row(row) for row in x):
        try:
            stacked = np.stack([np.asarray(row) for row in x])
        except (TypeError, ValueError):
            raise DazooError(_ragged(whose)) from None
        return _plain(stacked, whose)
    for i, value in np.ndenumerate(x):
        if isinstance(value, dict):
            raise DazooError(f"{whose} holds a dict in row {i[0]}; make a data frame of them: pandas.DataFrame(x)")
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            raise DazooError(f"{whose} holds a missing value ({value}) in row {i[0]}; fill it in or drop the row")
        if isinstance(value, (str, bytes)):
            raise DazooError(f"{whose} holds text ({value!r} in row {i[0]}), no array of numbers; {_TEXT}")
        if isinstance(value, (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)):
            raise DazooError(f"{whose} holds dates or times (row {i[0]}); {_DATES}")
        if isinstance(value, (complex, np.complexfloating)):
            raise DazooError(_complex(whose, "numpy.concatenate([x.real, x.imag], axis=1)"))
    try:
        return x.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DazooError(f"{whose} holds objects that are no numbers ({error}); convert it to floats") from error


def _is_row(value: Any) -> bool:
    """Whether an object is an array or a list itself; text, dicts and sets have a length and no axis."""
    try:
        return np.ndim(value) > 0
    except ValueError:  # lists of different lengths
        return True


def _frame(x: Any, whose: str) -> tuple[Tensor, tuple[str, ...]]:
    """A data frame column by column, and their names."""
    if not type(x).__module__.startswith("pandas"):
        try:
            x = x.to_pandas()
        except Exception as error:
            raise DazooError(
                f"{whose} is a {type(x).__name__} that pandas cannot read ({error}); use x.to_numpy()"
            ) from error
    import pandas as pd

    names = tuple(str(c) for c in x.columns)
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DazooError(f"{whose} has several columns called {some(twice)}; rename them")
    if not names:
        raise DazooError(f"{whose} is a frame without columns; give some")
    kinds = pd.api.types
    dates = [n for n, t in zip(names, x.dtypes) if kinds.is_datetime64_any_dtype(t) or kinds.is_timedelta64_dtype(t)]
    if dates:
        raise DazooError(f"{whose}: {some(dates)} holds dates or times; {_DATES}")
    complexes = [n for n, t in zip(names, x.dtypes) if kinds.is_complex_dtype(t)]
    if complexes:
        raise DazooError(f"{whose}: {some(complexes)} holds complex numbers; make two columns of them, real and imag")
    words = [n for i, n in enumerate(names) if not _numeric(x.iloc[:, i])]
    if words:
        raise DazooError(f"{whose}: not numeric: {some(words)}; {_TEXT}, e.g. pandas.get_dummies(x), or drop them")
    missing = [n for n, lacks in zip(names, x.isna().any()) if lacks]
    if missing:
        raise DazooError(f"{whose}: values are missing (NaN) in {some(missing)}; impute or drop these columns")
    short = all(t.itemsize <= (4 if t.kind == "f" else 2) if isinstance(t, np.dtype) else False for t in x.dtypes)
    data = x.to_numpy(dtype=np.float32 if short else np.float64)
    return _tensor(torch.from_numpy(_plain(data, whose)), whose), names


def _numeric(column: Any) -> bool:
    """Whether a column of a frame holds real numbers, truth values and missing ones only."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return True
    return column.dtype == object and all(isinstance(v, (Number, Decimal)) for v in column[~column.isna()])


def _sparse(x: Any, whose: str) -> np.ndarray:
    """A sparse matrix made dense where that is small."""
    if int(np.prod(x.shape, dtype=np.int64)) * x.dtype.itemsize > DENSE_BYTES:
        raise DazooError(_too_large(whose, tuple(x.shape)))
    return _plain(np.asarray(x.toarray()), whose)


def some(names: Sequence[str]) -> str:
    """At most five names for a message."""
    return ", ".join(repr(n) for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _too_large(whose: str, shape: tuple[int, ...]) -> str:
    return (
        f"{whose} is a sparse matrix of shape {shape}, too large as a dense array; reduce it first, e.g. by "
        "sklearn.decomposition.TruncatedSVD(100)"
    )


def _complex(whose: str, remedy: str) -> str:
    return f"{whose} holds complex numbers; give real and imaginary parts as features: {remedy}"


def _ragged(whose: str) -> str:
    return f"{whose} has samples of different sizes, so it is no array of numbers; give every sample the same length"


def _remedy_of_text(x: np.ndarray) -> str:
    try:
        x.astype(np.float64)
    except ValueError:
        return _TEXT
    return "its text reads as numbers: x.astype(float)"
