"""What the page's scripts read: JSON in a script element, packed where it is large.

A small page holds plain JSON that a person or a program may read. From ``PACK`` characters on it is gzip in base64
(attribute ``data-packed``), which the browser unpacks by itself, without network; rows of runs are turned into columns
first, since neighbours of a column are alike, and keys, which no packing makes smaller, keep what tells runs apart.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dazoo.bench.report import provenance

if TYPE_CHECKING:
    from markupsafe import Markup

PACK = 200_000
LEVEL = 6
"""Of compression; 9 takes six times as long for two parts in a hundred."""
KEY = 12
"""Characters of a run's key that a packed page keeps: 48 bits."""


def script(name: str, data: Mapping[str, Any], most: int = PACK) -> Markup:
    """The script element ``data-NAME`` of plain data; packed above ``most`` characters."""
    from markupsafe import Markup

    text, packed = provenance.embed(data), ""
    if len(text) > most:
        raw = json.dumps(_columns(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text, packed = base64.b64encode(gzip.compress(raw, LEVEL, mtime=0)).decode(), ' data-packed="gzip"'
    return Markup(f'<script type="application/json" id="data-{name}"{packed}>{text}</script>')


def unpack(text: str) -> Any:
    """The data of a packed script element, as the page reads it."""
    data = json.loads(gzip.decompress(base64.b64decode(text)))
    if "rows" in data:
        rows = [list(row) for row in zip(*data.pop("rows"))]
        for cells in data["cells"].values():
            for cell in cells.values():
                first, count = cell[4]
                cell[4] = rows[first : first + count]
    return data


def _columns(data: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of all cells as columns ``rows``; a cell holds the place of its first row and their number."""
    if "cells" not in data:
        return dict(data)
    rows: list[list[Any]] = []
    cells: dict[str, dict[int, Any]] = {}
    for label, of in data["cells"].items():
        cells[label] = {}
        for task, (*entry, runs) in of.items():
            cells[label][task] = [*entry, [len(rows), len(runs)]]
            rows += runs
    columns = [list(column) for column in zip(*rows)]
    if "key" in data["columns"] and columns:
        place = data["columns"].index("key")
        columns[place] = [key[:KEY] for key in columns[place]]
    return {**data, "cells": cells, "rows": columns}
