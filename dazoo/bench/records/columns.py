"""Records as an Arrow table, one row per record (``table`` reads it): what is equal in many records is stored once.

Columns of a table:

- ``key`` and ``status``: text.
- ``field:NAME`` and ``spec:NAME``: a field of the record, or of its ``spec``, as JSON text; null where it is absent.
  Equal texts (protocols, versions, machines) are one entry of the column's dictionary.
- ``number:NAME``: a field that is a floating-point number in every record that has it.
- ``points``: JSON of how the checkpoints are laid out (how many, and the names in each part); ``points_step`` and so on
  hold their numbers, all names of the first checkpoint, then those of the second.
- ``curves``: JSON of ``[name, points]`` pairs; ``curves_step`` and ``curves_value`` hold them one after the other.

A part that does not fit (fields unknown here, damaged curves, checkpoints that differ in their names) is a ``field:``:
every record that is JSON comes back equal. Values that come back may be shared between records: read, do not change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Record = dict[str, Any]
NUMBERS = ("step", "fraction")
TABLES = ("scores", "target", "predicted")
FLOATS = {float, type(None)}
LARGEST = 2**53
"""Whole numbers below are floating-point numbers, too."""


def text(value: Any) -> str:
    """JSON, in ASCII and without spaces."""
    return json.dumps(value, separators=(",", ":"))


def table_of(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table of some records."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for i, record in enumerate(records):
        for name, value in _row(record).items():
            column = columns.setdefault(name, [])
            column += [None] * (i - len(column))
            column.append(value)
    arrays = {}
    for name, column in columns.items():
        column += [None] * (len(records) - len(column))
        kind, _, field = name.partition(":")
        if kind == "field" and all(v is None or type(v) is float for v in column):
            arrays[f"number:{field}"] = pa.array(column, pa.float64())
        elif kind in ("field", "spec"):
            arrays[name] = pa.array(_texts(column), pa.string())
        else:
            arrays[name] = pa.array(column, _type(name))
    return pa.table(arrays)


def _texts(column: Sequence[Any]) -> list[str | None]:
    """JSON of every value, that of equal words made once."""
    words: dict[str, str] = {}
    found: list[str | None] = []
    for value in column:
        if type(value) is str:
            if value not in words:
                words[value] = text(value)
            found.append(words[value])
        else:
            found.append(None if value is None else text(None if value is NULL else value))
    return found


class _Null:
    """Stands for a field that is there and null."""


NULL = _Null()


def _type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name in ("key", "status", "points", "curves"):
        return pa.string()
    return pa.list_(pa.int64() if name.endswith("_step") else pa.float64())


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in record.items():
        if name in ("key", "status"):
            row[name] = value
            continue
        if name == "spec" and isinstance(value, dict) and value:
            row |= {f"spec:{k}": NULL if v is None else v for k, v in value.items()}
            continue
        fitted = _points(value) if name == "checkpoints" else _curves(value) if name == "curves" else None
        row |= fitted if fitted is not None else {f"field:{name}": NULL if value is None else value}
    return row


def _points(points: Any) -> dict[str, Any] | None:
    if not isinstance(points, list) or not all(isinstance(p, dict) for p in points):
        return None
    keys = list(points[0]) if points else []
    if not set(keys) <= {*NUMBERS, *TABLES} or any(list(p) != keys for p in points):
        return None
    layout: dict[str, Any] = {"n": len(points)}
    row: dict[str, Any] = {}
    for key in keys:
        if key in NUMBERS:
            layout[key] = True
            values = [p[key] for p in points]
        else:
            first = points[0][key]
            if not isinstance(first, dict):
                return None
            names = layout[key] = list(first)
            parts = [p[key] for p in points]
            if any(type(part) is not dict or list(part) != names for part in parts):
                return None
            values = list(chain.from_iterable(part.values() for part in parts))
        if not (_wholes(values) if key == "step" else _numbers(values)):
            return None
        row[f"points_{key}"] = values
    return row | {"points": text(layout)}


def _curves(curves: Any) -> dict[str, Any] | None:
    if not isinstance(curves, dict) or not all(isinstance(c, list) for c in curves.values()):
        return None
    pairs = [at for curve in curves.values() for at in curve]
    if not all(isinstance(at, (list, tuple)) and len(at) == 2 for at in pairs):
        return None
    steps, values = [at[0] for at in pairs], [at[1] for at in pairs]
    if not (_wholes(steps) and _numbers(values)):
        return None
    layout = text([[name, len(curve)] for name, curve in curves.items()])
    return {"curves": layout, "curves_step": steps, "curves_value": values}


def _wholes(values: Iterable[Any]) -> bool:
    """Whether all are whole numbers that are floating-point numbers, too."""
    return all(type(v) is int and abs(v) < LARGEST for v in values)


def _numbers(values: Sequence[Any]) -> bool:
    """Whether all are numbers that a column of floating-point numbers holds, or None."""
    others = [v for v in values if type(v) is not float] if set(map(type, values)) - FLOATS else []
    return all(v is None for v in others) or _wholes(v for v in others if v is not None)
