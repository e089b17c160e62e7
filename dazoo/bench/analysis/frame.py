"""Records as a tidy table for notebooks: one row per run and checkpoint (columns: docs/results.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dazoo.bench.analysis.read import read_runs
from dazoo.bench.analysis.runs import Run
from dazoo.bench.records.store import FOLDER
from dazoo.bench.records.table import Row
from dazoo.core.errors import DazooError
from dazoo.core.files import replacing
from dazoo.data.names import split_name

if TYPE_CHECKING:
    import pandas as pd

WORDS = ("key", "label", "method", "family", "task", "dataset", "source", "target", "setting", "status", "error",
         "started", "variant", "hparams", "device", "version")  # fmt: skip
WHOLE = ("seed", "trial", "checkpoint", "step")
NUMBERS = ("fraction", "seconds", "cpu_seconds", "device_seconds", "peak_memory_mb")
SCORE, METRIC, CLASSES = "score.", "metric.", "classes."
"""How columns of validators' scores, target metrics and effective numbers of predicted classes begin."""


def load_records(folder: str | Path) -> pd.DataFrame:
    """The runs of a result folder as a table: one row per run and checkpoint, one row for a run that failed.

    The runs are those that count in reports: one per key, of every label the newest form. Columns that do not apply
    hold missing values; what they mean is in docs/results.md. Scores need no target label, metrics are computed from
    target labels and may be used for the final numbers only.

    Raises:
        DazooError: the folder holds no usable record.
    """
    folder = Path(folder)
    if not (folder / FOLDER).is_dir():
        raise DazooError(f"{folder} holds no records; 'dazoo run SUITE --out {folder}' makes them")
    facts: dict[str, dict[str, Any]] = {}
    found = read_runs(folder, lambda record: facts.__setitem__(record["key"], _facts(record)))
    if not found.runs:
        raise DazooError(f"{folder} holds no usable record ({found.damage.summary() or 'the shards are empty'})")
    return _frame(found.runs, facts)


def _facts(record: Row) -> dict[str, Any]:
    """What a ``Run`` does not hold."""
    return {
        "hparams": json.dumps(record["spec"].get("hparams") or {}, sort_keys=True),
        "device": record.get("device"),
        "version": (record.get("versions") or {}).get("dazoo"),
        "peak_memory_mb": record.get("peak_memory_mb"),
        "step": record.along("step"),
        "fraction": record.along("fraction"),
    }


def _frame(runs: Sequence[Run], facts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    counts = np.array([max(len(r.target), 1) for r in runs])
    places = np.concatenate([[0], np.cumsum(counts)])
    columns: dict[str, Any] = {}
    parts = {r.task: split_name(r.task) for r in runs}
    for name in (*WORDS, "seed", "trial"):
        if name in ("dataset", "source", "target"):
            i = ("dataset", "source", "target").index(name)
            told: list[Any] = [("+".join(p[1]) if i == 1 else p[i]) for p in (parts[r.task] for r in runs)]
        elif name == "status":
            told = ["ok" if r.ok else "failed" for r in runs]
        else:
            told = [facts[r.key][name] if name in facts[r.key] else getattr(r, name) for r in runs]
        columns[name] = np.repeat(np.array(told, dtype="int64" if name in WHOLE else object), counts)
    columns["error"][columns["error"] == ""] = None
    for name in ("checkpoint", "step", "fraction"):
        columns[name] = np.full(places[-1], np.nan)
    for name in NUMBERS[1:]:
        told = [facts[r.key][name] if name in facts[r.key] else getattr(r, name) for r in runs]
        columns[name] = np.repeat(np.array(told, dtype=np.float64), counts)
    kinds = ((SCORE, "validators", "scores"), (METRIC, "metrics", "target"))
    names = [prefix + n for prefix, named, _ in kinds for n in sorted({n for r in runs for n in getattr(r, named)})]
    for name in [*names, f"{CLASSES}target", f"{CLASSES}source"]:
        columns[name] = np.full(places[-1], np.nan)
    for run, start in zip(runs, places):
        at = slice(start, start + len(run.target))
        columns["checkpoint"][at] = np.arange(len(run.target))
        columns["step"][at] = np.array(facts[run.key]["step"], dtype=np.float64)
        columns["fraction"][at] = np.array(facts[run.key]["fraction"], dtype=np.float64)
        for prefix, named, table in kinds:
            for i, name in enumerate(getattr(run, named)):
                columns[prefix + name][at] = getattr(run, table)[:, i]
        columns[f"{CLASSES}target"][at], columns[f"{CLASSES}source"][at] = run.predicted.T
    frame = pd.DataFrame(columns)
    frame[["checkpoint", "step"]] = frame[["checkpoint", "step"]].astype("Int64")
    return frame


def export_records(folder: str | Path, kind: str, out: str | Path | None = None) -> Path:
    """Write the table of ``load_records`` to ``out``, by default ``runs.<kind>`` in the result folder.

    Args:
        kind: ``parquet`` or ``csv``.
    """
    if kind not in ("parquet", "csv"):
        raise DazooError(f"records are exported as parquet or csv, not {kind!r}")
    path = Path(out) if out is not None else Path(folder) / f"runs.{kind}"
    if path.is_dir():
        raise DazooError(f"{path} is a folder; name a file with --out")
    frame = load_records(folder)
    with replacing(path) as temporary:
        if kind == "parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    return path
