"""Helpers of the harness tests: made-up records and a small suite."""

from __future__ import annotations

import hashlib
from typing import Any

from dazoo.bench.records.store import Writer

SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": "digits",
    "tasks": ["upright->rotated", "upright->noisy"],
    "methods": ["source_only", "coral", "sa"],
    "seeds": 2,
    "classifier": {"name": "1nn"},
}


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
