"""Helpers of the harness tests: made-up records and a small suite."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dazoo.bench.records.store import Writer, records

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": "digits",
    "tasks": ["upright->rotated", "upright->noisy"],
    "methods": ["source_only", "coral", "sa"],
    "seeds": 2,
    "classifier": {"name": "1nn"},
}
TIMES = ("started", "seconds", "seconds_evaluation", "seconds_keeping", "peak_memory_mb", "cpu_seconds", "load")
MEASURED = ("fit_seconds", "samples_per_second")


def plain_records(folder: Path) -> dict[str, Any]:
    """Every record by key, without what depends on the clock and the machine's load; no key twice."""
    found: dict[str, Any] = {}
    for record in records(folder):
        kept = {k: v for k, v in record.items() if k not in TIMES}
        kept["info"] = {k: v for k, v in record["info"].items() if k not in MEASURED}
        assert record["key"] not in found, "a run was done twice"
        found[record["key"]] = kept
    return found


def write_run(
    writer: Writer,
    label: str,
    task: str,
    seed: int = 0,
    trial: int = 0,
    scores: list[dict[str, float | None]] | None = None,
    target: list[dict[str, float]] | None = None,
    *,
    status: str = "ok",
    setting: str = "unsupervised",
    variant: str = "v1",
    started: str = "2024-01-01T00:00:00",
    family: str = "made_up",
    seconds: float = 1.0,
    predicted: list[dict[str, float]] | None = None,
    curves: dict[str, list[tuple[int, float]]] | None = None,
    flags: list[dict[str, str]] | None = None,
    more: dict[str, Any] | None = None,
    at: str = "",
) -> None:
    """Append a record with the given scores and target metrics per checkpoint; ``at`` stands for its settings."""
    target = target or []
    scores = scores or [{} for _ in target]
    points = [
        {"step": i + 1, "fraction": (i + 1) / len(target), "scores": s, "target": t}
        for i, (s, t) in enumerate(zip(scores, target))
    ]
    for point, found in zip(points, predicted or []):
        point["predicted"] = found
    body: dict[str, Any] = {
        "variant": variant,
        "started": started,
        "spec": {
            "label": label, "method": label, "family": family, "task": task, "setting": setting, "seed": seed,
            "trial": trial,
        },
        "checkpoints": points,
        "seconds": seconds,
        "curves": curves or {},
        "info": {"findings": flags or []},
    }  # fmt: skip
    body |= more or {}
    if status != "ok":
        body |= {"error": {"type": "ValueError", "message": "it broke", "traceback": ""}, "checkpoints": []}
    key = hashlib.sha256((repr((label, task, seed, trial, variant)) + at).encode()).hexdigest()[:32]
    writer.append(key, status, body)


def accuracies(*values: float) -> list[dict[str, float]]:
    return [{"accuracy": v} for v in values]


def scored(name: str, *values: float | None) -> list[dict[str, float | None]]:
    return [{name: v} for v in values]
