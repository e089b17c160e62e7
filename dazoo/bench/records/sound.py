"""``shape`` for whole tables: every different value is looked at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from dazoo.bench.records.columns import NULL, TABLES
from dazoo.bench.records.shape import Record, fault
from dazoo.bench.records.table import Table

SPEC: dict[str, Any] = {
    "label": "l", "method": "m", "family": "f", "task": "d/s->t", "setting": "s", "seed": 0, "trial": 0,
}  # fmt: skip
WHOLE: dict[str, Any] = {"key": "0", "status": "ok", "variant": "v", "started": "s", "spec": SPEC}
"""A record without fault."""
NEEDED = ("field:variant", "field:started", *(f"spec:{name}" for name in SPEC))
TEXTS = ("field:variant", "field:started")


def sound(table: Table) -> np.ndarray:
    """Which records have the shape of a record and their checkpoints in columns; of the others ``fault`` tells."""
    if not {"key", "status", *NEEDED} <= set(table.names) or not _finite(table):
        return np.zeros(len(table), dtype=bool)
    good = np.isin(np.array(table.values("status"), dtype=object), ("ok", "failed"))
    for name in table.names:
        kind, _, field = name.partition(":")
        if kind == "number" and field in Record.model_fields and field not in ("seconds", "peak_memory_mb"):
            good &= np.isnan(table.arrow.column(name).to_numpy())
        elif name == "points" or kind in ("field", "spec"):
            codes, values = table.coded(name)
            fits = np.array([_fits(name, None if v is NULL else v) for v in values] + [name not in NEEDED], dtype=bool)
            good &= fits[codes]
    return good


def _fits(name: str, value: Any) -> bool:
    kind, _, field = name.partition(":")
    if name in TEXTS:
        return isinstance(value, str)
    if kind == "spec":
        return not fault(WHOLE | {"spec": SPEC | {field: value}})
    if name == "points":
        names = {key: dict.fromkeys(value[key]) for key in TABLES if key in value}
        return not value["n"] or not fault(WHOLE | {"checkpoints": [names]})
    return field not in ("checkpoints", "spec") and not fault(WHOLE | {field: value})


def _finite(table: Table) -> bool:
    """Whether no number is infinite or undefined, and no step negative."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in table.names:
        column = table.arrow.column(name)
        if name.startswith("points_"):
            if not all(_fine(part.flatten(), pa, pc) for part in column.chunks):
                return False
        elif name.startswith("number:") and not all(_fine(part, pa, pc) for part in column.chunks):
            return False
    return True


def _fine(numbers: Any, pa: Any, pc: Any) -> bool:
    if pa.types.is_integer(numbers.type):
        return not numbers.null_count and (not len(numbers) or pc.min(numbers).as_py() >= 0)
    return pc.all(pc.is_finite(numbers)).as_py() is not False
