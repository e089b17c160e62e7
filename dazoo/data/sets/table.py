"""A table of one's own: a CSV, TSV or Parquet file with a row per sample, a label column and a domain column.

All other columns are features. Numbers and truth values are taken as they are; text columns are refused, since their
coding is a modelling decision: leave them out (``drop``) or ask for ``text: one_hot``, which makes a 0/1 column of
every value that occurs in the file. Missing values are refused by column. A domain without any label is unlabelled.

    load_task("table/2023->2024", path="patients.csv", label_column="outcome", domain_column="year", drop=["id"])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.domain import Domain
from dazoo.data.generic import as_text, check_choice, class_names, code, domain_names, is_classes, locate
from dazoo.data.registry import Dataset, register_dataset

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t", ".gz": ","}
TEXT = ("refuse", "one_hot")


def names(
    root: Path | None, path: str | None = None, domain_column: str = "domain", **options: object
) -> tuple[str, ...]:
    """The values of the domain column."""
    place = locate(path, root, "table")
    return domain_names(sorted(set(_domains(_read(place), domain_column, place))), place)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    label_column: str = "label",
    domain_column: str = "domain",
    drop: Sequence[str] = (),
    text: str = "refuse",
    targets: str = "auto",
    classes: str = "same",
) -> Domain:
    """The rows of one domain as vectors (n, d) float64, in the order of the file and its columns.

    Args:
        domain: a value of the domain column.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the file.
        label_column: name of the label column.
        domain_column: name of the domain column.
        drop: columns to leave out.
        text: ``refuse`` or ``one_hot``.
        targets: ``auto`` (fractions make regression targets, all else classes), ``classes`` or ``values``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        UnknownName: a column does not exist.
        DazooError: the file is missing or damaged, or holds text or missing values where it must not.
    """
    check_choice("text", text, TEXT)
    place = locate(path, root, "table")
    table = _read(place)
    which = _domains(table, domain_column, place)
    left_out = [label_column, *([drop] if isinstance(drop, str) else drop)]
    for column in left_out:
        _need(table, column, place)
    features = _features(table.drop(columns=[domain_column, *left_out]), text, place)
    found = sorted({str(d) for d in which})
    labels = {d: _labels(table[label_column][which == d], d, place) for d in found}
    known = {d: y for d, y in labels.items() if y is not None}
    as_classes = all([is_classes(y, targets, place) for y in known.values()])
    x, y = features[which == domain], labels[domain]
    if not as_classes:
        if y is not None:
            is_classes(y, "values", place)
        values = None if y is None else torch.from_numpy(y.astype(np.float32))
        return Domain(domain, torch.from_numpy(x), values, ())
    present = {d: None if y is None else set(as_text(y)) for d, y in labels.items()}
    chosen = class_names(present, domain, classes)
    if y is None:
        return Domain(domain, torch.from_numpy(x), None, chosen)
    rows, coded = code(as_text(y), chosen)
    return Domain(domain, torch.from_numpy(x[rows]), coded, chosen)


def _read(place: Path) -> pd.DataFrame:
    if place.is_dir():
        raise DazooError(f"the dataset 'table' needs a file, but {place} is a folder; use the dataset folder")
    stat = place.stat()
    return _parse(place, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _parse(place: Path, size: int, changed: int) -> pd.DataFrame:
    import pandas as pd

    try:
        if place.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(place)
        if place.suffix.lower() in SEPARATORS:
            separator = "\t" if place.name.lower().endswith(".tsv.gz") else SEPARATORS[place.suffix.lower()]
            return pd.read_csv(place, sep=separator)
    except ImportError as error:
        raise DazooError(f"reading {place} needs pyarrow; install it with: pip install 'dazoo[parquet]'") from error
    except Exception as error:
        raise DazooError(f"{place} is damaged or no table ({error}); export it again") from error
    raise DazooError(f"{place} is no .csv, .tsv or .parquet file; export the table in one of these formats")


def _need(table: pd.DataFrame, column: str, place: Path) -> None:
    if column not in table.columns:
        raise UnknownName(f"{place} has no column {column!r}: {nearest(column, map(str, table.columns))}")


def _domains(table: pd.DataFrame, column: str, place: Path) -> np.ndarray:
    _need(table, column, place)
    missing = int(table[column].isna().sum())
    if missing:
        raise DazooError(f"{place}: {missing} rows have no value in the domain column {column!r}; fill them in")
    return as_text(table[column].to_numpy())


def _labels(column: pd.Series, domain: str, place: Path) -> np.ndarray | None:
    missing = int(column.isna().sum())
    if missing == len(column):
        return None
    if missing:
        raise DazooError(
            f"{place}: {missing} of {len(column)} rows of the domain {domain!r} have no value in the label column "
            f"{column.name!r}; label all or none of a domain"
        )
    # named dtypes, since columns of nullable dtypes would become arrays of objects
    as_dtype = {"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}.get(column.dtype.kind)
    return np.asarray(column.astype(str).to_numpy(dtype=str) if as_dtype is None else column.to_numpy(dtype=as_dtype))


def _features(table: pd.DataFrame, text: str, place: Path) -> np.ndarray:
    import pandas as pd

    if table.shape[1] == 0:
        raise DazooError(f"{place} has no feature column beside the label and the domain; add some")
    missing = [str(c) for c in table.columns if bool(table[c].isna().any())]
    if missing:
        raise DazooError(f"{place}: values are missing in {_some(missing)}; impute or drop these columns")
    words = [c for c in table.columns if not (pd.api.types.is_numeric_dtype(table[c]))]
    if words and text == "refuse":
        raise DazooError(
            f"{place}: not numeric: {_some([str(c) for c in words])}; leave them out with the option drop, or "
            "code them with text: one_hot"
        )
    x = pd.get_dummies(table, columns=words).to_numpy(dtype=np.float64) if words else table.to_numpy(dtype=np.float64)
    infinite = [str(c) for c in table.columns if c not in words and not np.isfinite(table[c].to_numpy(float)).all()]
    if infinite:
        raise DazooError(f"{place}: values are infinite in {_some(infinite)}; correct or drop these columns")
    return np.ascontiguousarray(x)


def _some(columns: list[str]) -> str:
    shown = ", ".join(repr(c) for c in columns[:5])
    return ("the column " if len(columns) == 1 else "the columns ") + shown + (", ..." if len(columns) > 5 else "")


register_dataset(
    Dataset(
        name="table",
        domains=names,
        load=load,
        description="your own CSV, TSV or Parquet table with a label and a domain column",
        options={
            "path": None,
            "label_column": "label",
            "domain_column": "domain",
            "drop": (),
            "text": "refuse",
            "targets": "auto",
            "classes": "same",
        },
        license="yours",
    )
)
