"""A table of one's own: a CSV, TSV, Parquet or JSON-lines file with a row per sample, a label and a domain column.

All other columns are features. Where all of them are numbers and truth values without gaps, they are vectors as they
are. Else they stay a table of mixed types, of which the encoder ``table`` makes numbers (``text: auto``); ``refuse``
refuses words and gaps, ``one_hot`` makes a 0/1 column of every value that occurs in the file. With ``text_column`` the
samples are the texts of that column alone. A domain without any label is unlabelled; one whose labels are missing in
some rows is a target that was labelled in part, and methods that learn from few target labels see exactly those.

    load_task("table/2023->2024", path="patients.csv", label_column="outcome", domain_column="year", drop=["id"])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dazoo.core.archive import check_unpacked
from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.domain import Domain
from dazoo.data.generic import check_choice, class_names, coded, content_of, domain_names, locate
from dazoo.data.labels import Labels, are_classes, need_all, read
from dazoo.data.raw import Table, Texts
from dazoo.data.raw_input import is_table
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema
from dazoo.data.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("auto", "refuse", "one_hot")
CELL = 8  # bytes


def names(
    root: Path | None, path: str | None = None, domain_column: str = "domain", **options: object
) -> tuple[str, ...]:
    """The values of the domain column."""
    place = locate(path, root, "table")
    return domain_names(sorted(set(_domains(read_table(place), domain_column, place))), place)


def look(
    root: Path | None,
    path: str | None = None,
    label_column: str = "label",
    domain_column: str = "domain",
    targets: str = "auto",
    unlabelled: object = None,
    **options: object,
) -> str:
    """Whether the label column holds ``classes`` or ``values``."""
    place = locate(path, root, "table")
    table = read_table(place)
    _need(table, label_column, place)
    labels = _labels(table[label_column], _domains(table, domain_column, place), place, unlabelled)
    return "classes" if _as_classes(labels, targets, place) else "values"


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    label_column: str = "label",
    domain_column: str = "domain",
    drop: Sequence[str] = (),
    text: str = "auto",
    targets: str = "auto",
    classes: str = "same",
    unlabelled: object = None,
    few_column: str | None = None,
    text_column: str | None = None,
    roles: dict[str, str] | None = None,
) -> Domain:
    """The rows of one domain in the order of the file: vectors (n, d) float64, a ``Table`` or ``Texts``.

    Args:
        domain: a value of the domain column.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the file.
        label_column: name of the label column.
        domain_column: name of the domain column.
        drop: columns to leave out.
        text: what to do with words and gaps: ``auto``, ``refuse`` or ``one_hot``.
        targets: ``auto`` (fractions make regression targets, all else classes), ``classes`` or ``values``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.
        unlabelled: a value, or a list of values, that means "no label" beside empty cells, e.g. -1.
        few_column: a column of 0 and 1: which labels methods that learn from few target labels see; the other labels
            are tested on. Without it, they see all labels of a domain that was labelled in part.
        text_column: the column whose texts are the samples.
        roles: roles of columns for the encoder ``table`` (``number``, ``category`` ...), where it would infer others.

    Raises:
        UnknownName: a column does not exist.
        DazooError: the file is missing or damaged, or holds text or missing values where it must not.
    """
    check_choice("text", text, TEXT)
    place = locate(path, root, "table")
    table = read_table(place)
    which = _domains(table, domain_column, place)
    left_out = [label_column, *([drop] if isinstance(drop, str) else drop)]
    left_out += [few_column] if few_column is not None and few_column not in left_out else []
    for column in left_out:
        _need(table, column, place)
    features = table.drop(columns=[domain_column, *left_out])
    _no_infinity(features, place)
    samples: Any
    if text_column is not None:
        _need(table, text_column, place)
        samples = Texts.of(["" if v is None or v != v else str(v) for v in table[text_column]])
        schema = Schema("text", ())
    elif text == "auto" and (roles or is_table(features)):
        features = features.rename(columns=str)
        samples = Table(features.reset_index(drop=True), dict(roles or {}))
        schema = Schema("table", samples.form, samples.names)
    else:
        x, columns = _features(features, text, place)
        x = np.require(x, requirements="W")  # pandas may give its own memory, which nobody may write to
        samples, schema = torch.from_numpy(x), Schema("vector", (len(columns),), columns)
    labels = _labels(table[label_column], which, place, unlabelled)
    as_classes = _as_classes(labels, targets, place)
    present = {d: None if y is None else y.present for d, y in labels.items()}
    rows, fields = coded(labels[domain], class_names(present, domain, classes) if as_classes else None)
    kept = np.flatnonzero(which == domain) if rows is None else np.flatnonzero(which == domain)[rows]
    few = None if few_column is None else _few(table[few_column].iloc[kept], place)
    rows_kept = torch.from_numpy(kept)
    return Domain(domain, samples[rows_kept], few=few, schema=schema, kind=schema.kind, **fields)


def encoder(root: Path | None, text: str = "auto", text_column: str | None = None, **options: Any) -> str:
    """The encoder that the samples need; empty where they are numbers already."""
    if text_column is not None:
        return "tfidf"
    if text != "auto":
        return ""
    place = locate(options.get("path"), root, "table")
    drop = options.get("drop") or ()
    left_out = [options.get("label_column", "label"), options.get("domain_column", "domain"), options.get("few_column")]
    table = read_table(place)
    gone = {*left_out, *([drop] if isinstance(drop, str) else drop)}
    features = table.drop(columns=[c for c in table.columns if c in gone])
    return "table" if options.get("roles") or is_table(features) else ""


def _no_infinity(features: pd.DataFrame, place: Path) -> None:
    numeric = features.select_dtypes("number")
    infinite = [str(c) for c in numeric.columns if np.isinf(numeric[c].to_numpy(float, na_value=0.0)).any()]
    if infinite:
        raise DazooError(f"{place}: values are infinite in {_some(infinite)}; correct or drop these columns")


def _need(table: pd.DataFrame, column: str, place: Path) -> None:
    if column not in table.columns:
        raise UnknownName(f"{place} has no column {column!r}: {nearest(column, map(str, table.columns))}")


def _domains(table: pd.DataFrame, column: str, place: Path) -> np.ndarray:
    _need(table, column, place)
    missing = int(table[column].isna().sum())
    if missing:
        raise DazooError(f"{place}: {missing} rows have no value in the domain column {column!r}; fill them in")
    return read(table[column], f"{place}: the entries of {column!r}").names


def _labels(column: pd.Series, which: np.ndarray, place: Path, unlabelled: object) -> dict[str, Labels | None]:
    """The labels of every domain; None where it has none."""
    read_in = {d: read(column[which == d], f"{place}: the labels of {d!r}", unlabelled) for d in sorted(set(which))}
    return {d: y if y.known.any() else None for d, y in read_in.items()}


def _as_classes(labels: dict[str, Labels | None], targets: str, place: Path) -> bool:
    return are_classes([y for y in labels.values() if y is not None], targets, f"{place}: the labels")


def _few(column: pd.Series, place: Path) -> torch.Tensor | None:
    """The rows (k,) marked in a column of 0 and 1; None where none is."""
    whose = f"{place}: the entries of {column.name!r}"
    marks = read(column, whose)
    need_all(marks.known, whose)
    if not marks.present <= {"0", "1"}:
        raise DazooError(f"{whose} must be 0 or 1, whether few-label methods see the label, not {marks.present}")
    rows = np.flatnonzero(marks.names == "1")
    return torch.from_numpy(rows) if len(rows) else None


def _features(table: pd.DataFrame, text: str, place: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features (n, d) float64 and their names."""
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
    if words:
        width = sum(int(table[c].nunique()) for c in words)
        made = f"the {width:,} columns that text: one_hot makes of {_some([str(c) for c in words])}"
        check_unpacked(place, CELL * width * len(table), made, "leave columns of many values out with the option drop")
    coded_table = pd.get_dummies(table, columns=words) if words else table
    x = coded_table.to_numpy(dtype=np.float64)
    return np.ascontiguousarray(x), tuple(str(c) for c in coded_table.columns)


def _some(columns: list[str]) -> str:
    shown = ", ".join(repr(c) for c in columns[:5])
    return ("the column " if len(columns) == 1 else "the columns ") + shown + (", ..." if len(columns) > 5 else "")


register_dataset(
    Dataset(
        name="table",
        domains=names,
        load=load,
        description="your own CSV, TSV, JSON-lines or Parquet table with a label and a domain column",
        options={
            "path": None,
            "label_column": "label",
            "domain_column": "domain",
            "drop": (),
            "text": "auto",
            "targets": "auto",
            "classes": "same",
            "unlabelled": None,
            "few_column": None,
            "text_column": None,
            "roles": None,
        },
        license="yours",
        content=content_of,
        look=look,
        encoder=encoder,
    )
)
