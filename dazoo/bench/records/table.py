"""A table of ``columns``, read as far as it is asked for: numbers as arrays, JSON parsed once per different text.

Values may be shared between records: read, do not change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dazoo.bench.records.columns import NULL, Record

if TYPE_CHECKING:
    import pyarrow as pa

Names = dict[str, list[str]]


def is_json(name: str) -> bool:
    """Whether a column holds JSON."""
    return name.startswith(("field:", "spec:")) or name in ("points", "curves")


class Table:
    """The records of an Arrow table."""

    def __init__(self, table: pa.Table):
        self.arrow = table
        self.names = table.column_names
        self._values: dict[str, list[Any]] = {}
        self._coded: dict[str, tuple[np.ndarray, list[Any]]] = {}
        self._numbers: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.arrow)

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        """The columns of each field of a record, but ``spec``, ``checkpoints`` and ``curves``."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            kind, colon, field = name.partition(":")
            if kind in ("field", "number") and colon:
                found.setdefault(field, []).append(name)
        return found

    @cached_property
    def spec_names(self) -> list[str]:
        return [n.partition(":")[2] for n in self.names if n.startswith("spec:")]

    def values(self, name: str) -> list[Any]:
        """A column as Python values, None where there is none, ``NULL`` where JSON says null."""
        if name not in self._values:
            self._values[name] = self._decoded(name)
        return self._values[name]

    def _decoded(self, name: str) -> list[Any]:
        if not is_json(name):
            plain: list[Any] = self.arrow.column(name).to_pylist()
            return plain
        codes, different = self.coded(name)
        return [None if at < 0 else different[at] for at in codes.tolist()]

    def coded(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """A column of JSON as positions among its different values, -1 where there is none, and these values."""
        if name not in self._coded:
            column = _whole(self.arrow.column(name)).dictionary_encode()
            values = [json.loads(t) for t in column.dictionary.to_pylist()]
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            self._coded[name] = codes, [NULL if v is None else v for v in values]
        return self._coded[name]

    def numbers(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of all records one after the other, NaN where they are null, and where each record's begin."""
        if name not in self._numbers:
            lists = _whole(self.arrow.column(name))
            self._numbers[name] = (lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy())
        return self._numbers[name]

    def get(self, i: int, field: str, default: Any = None) -> Any:
        """A field of record ``i``."""
        for name in self.fields.get(field, ()):
            value = self.values(name)[i]
            if value is not None:
                return None if value is NULL else value
        return default

    def spec(self, i: int) -> Record:
        """What determines run ``i``."""
        found: Record = {}
        for name in self.spec_names:
            value = self.values(f"spec:{name}")[i]
            if value is not None:
                found[name] = None if value is NULL else value
        return found

    def layout(self, i: int) -> dict[str, Any] | None:
        """How the checkpoints of record ``i`` are laid out; None where it has none, or they fit into no column."""
        found: dict[str, Any] | None = self.values("points")[i] if "points" in self.names else None
        return found

    def points(self, i: int) -> list[Record]:
        """The checkpoints of record ``i``, which has a layout."""
        layout = self.values("points")[i]
        points: list[Record] = [{} for _ in range(layout["n"])]
        for key, names in layout.items():
            if key == "n":
                continue
            values = self.values(f"points_{key}")[i]
            for j, point in enumerate(points):
                width = 1 if names is True else len(names)
                part = values[j * width : (j + 1) * width]
                point[key] = part[0] if names is True else dict(zip(names, part))
        return points

    def curves(self, i: int) -> dict[str, list[list[Any]]]:
        """The curves of record ``i``, which has some."""
        steps, values, start, curves = self.values("curves_step")[i], self.values("curves_value")[i], 0, {}
        for name, length in self.values("curves")[i]:
            at = slice(start, start + length)
            curves[name] = [list(pair) for pair in zip(steps[at], values[at])]
            start += length
        return curves

    def record(self, i: int) -> Record:
        """Record ``i``."""
        record: Record = {n: self.values(n)[i] for n in ("key", "status") if n in self.names}
        for field, columns in self.fields.items():
            for name in columns:
                value = self.values(name)[i]
                if value is not None:
                    record[field] = None if value is NULL else value
        spec = self.spec(i)
        if spec:
            record["spec"] = spec
        if self.layout(i) is not None:
            record["checkpoints"] = self.points(i)
        if "curves" in self.names and self.values("curves")[i] is not None:
            record["curves"] = self.curves(i)
        return record


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


class Row:
    """One record of a table: a mapping that makes what it is asked for, with shorter ways to what readers ask most."""

    __slots__ = ("i", "table")

    def __init__(self, table: Table, i: int):
        self.table, self.i = table, i

    def get(self, name: str, default: Any = None) -> Any:
        """A field, ``default`` where the record has none."""
        table, i = self.table, self.i
        if name in ("key", "status"):
            return table.values(name)[i] if name in table.names else default
        if name == "spec" and table.spec_names:
            return table.spec(i) or table.get(i, name, default)
        if name == "checkpoints" and table.layout(i) is not None:
            return table.points(i)
        if name == "curves" and "curves" in table.names and table.values("curves")[i] is not None:
            return table.curves(i)
        return table.get(i, name, default)

    def __getitem__(self, name: str) -> Any:
        value = self.get(name, NULL)
        if value is NULL:
            raise KeyError(name)
        return value

    @property
    def curved(self) -> bool:
        """Whether there are curves."""
        if "curves" in self.table.names and (layout := self.table.values("curves")[self.i]) is not None:
            return bool(layout)
        return bool(self.table.get(self.i, "curves"))

    def along(self, name: str) -> list[Any]:
        """``step`` or ``fraction`` of every checkpoint, None where it is not told."""
        layout = self.table.layout(self.i)
        if layout is None:
            return [p.get(name) for p in self.table.get(self.i, "checkpoints") or []]
        if name not in layout:
            return [None] * layout["n"]
        found: list[Any] = self.table.values(f"points_{name}")[self.i]
        return found


def records_of(table: pa.Table) -> Iterator[Record]:
    """The records of an Arrow table."""
    read = Table(table)
    for i in range(len(read)):
        yield read.record(i)
