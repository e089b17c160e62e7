"""Labels among the features: columns of frames that are called like the label, or say what it says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.domain import Domain
from dazoo.data.raw import Table

LOOKED_AT = 100_000
LEAST = 10  # rows below which a column agrees with the label by chance
REPEATED = 5  # rows per level on average from which levels of one class each are no chance


def labels_among(xs: Sequence[Any], ys: Sequence[Any]) -> set[str]:
    """Names of columns that are the labels: they are called like them and, where a source has them, say the same.

    A column that labels were made from by a rule, as in ``frame["age"] > 60``, lends them its name and is none.
    """
    names = set().union(*map(_names, ys))
    holds = [(x[n], y, n) for x, y in zip(xs, ys) for n in _names(y) if n in _columns(x)]
    return names - {n for column, y, n in holds if not _same(column, y)}


def without_labels(x: Any, names: set[str], whose: str) -> Any:
    """Samples without the columns ``names``, which a warning names; a file of targets often holds its labels.

    Raises:
        DazooError: no other column is left.
    """
    if isinstance(x, dict):
        return {k: without_labels(v, names, f"{whose} {k!r}") for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [without_labels(v, names, whose) for v in x] if any(map(_columns, x)) else x
    found = [c for c in _columns(x) if c in names]
    if not found:
        return x
    if len(found) == len(_columns(x)):
        raise DazooError(f"{whose} has no column but {found[0]!r}, which is called like the labels; give features")
    warnings.warn(
        f"{whose}: the column {found[0]!r} is called like the labels and is no feature; rename it if it is one",
        DazooWarning,
        stacklevel=5,
    )
    return x[[c for c in _columns(x) if c not in names]]


def _columns(x: Any) -> list[Any]:
    return list(x.columns) if hasattr(x, "columns") and hasattr(x, "dtypes") else []


def _names(y: Any) -> set[str]:
    """The name that labels bring along: of a series, or of the one column of a frame. Numbers are no names."""
    columns = _columns(y)
    name = columns[0] if len(columns) == 1 else getattr(y, "name", None)
    return {name} if isinstance(name, str) and name else set()


def _same(column: Any, y: Any) -> bool:
    import pandas as pd

    said = pd.Series(np.asarray(y).reshape(-1)).astype(str)
    column = pd.Series(np.asarray(column).reshape(-1)).astype(str)
    return len(column) == len(said) and (bool((column == said).all()) or _says(column, pd.factorize(said)[0]))


def copies_of_labels(sources: Sequence[Domain], ignored: Sequence[str] = ()) -> list[str]:
    """Sentences about columns of tables, but ``ignored`` ones, that alone tell all labels of a source."""
    found: list[str] = []
    for domain in sources:
        if not isinstance(domain.x, Table) or domain.y is None or domain.regression or len(domain.x) <= LEAST:
            continue
        y = domain.y[:LOOKED_AT].numpy()
        frame = domain.x.frame.iloc[:LOOKED_AT]
        for name in domain.x.names:
            if name not in ignored and _tells(frame[name], y):
                found.append(
                    f"column {name!r} alone tells the label of every row of {domain.name!r}: leave it out if it was "
                    "made from the label, or is known only after it"
                )
    return list(dict.fromkeys(found))


def _tells(column: Any, y: np.ndarray) -> bool:
    """Whether the label can be told from the cell: by level, or since sorted numbers have the classes one by one."""
    import pandas as pd

    if _says(column, y):
        return True
    counts = np.unique(y, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < LEAST:
        return False
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column) and not column.isna().any():
        order = np.lexsort((y, column.to_numpy()))
        value, label = column.to_numpy()[order], y[order]
        new = label[1:] != label[:-1]
        return bool(new.sum() == len(counts) - 1 and (value[1:] != value[:-1])[new].all())
    codes = pd.factorize(column.astype(str))[0]
    levels = int(codes.max()) + 1
    return levels * REPEATED <= len(y) and len(np.unique(codes * (int(y.max()) + 1) + y)) == levels


def _says(column: Any, y: np.ndarray) -> bool:
    """Whether cells and classes stand for one another, each for one; gaps are a value too."""
    import pandas as pd

    codes = pd.factorize(column.astype(str))[0]
    k = len(np.unique(y))
    return 1 < k <= len(y) // 2 and int(codes.max()) + 1 == k == len(np.unique(codes * (int(y.max()) + 1) + y))
