"""How the record of a run begins, and how errors and deaths are told."""

from __future__ import annotations

import re
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dazoo.bench.execute.clock import load
from dazoo.bench.execute.machine import machine
from dazoo.bench.execute.place import Place
from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.records.stores import store_of


def opening(spec: RunSpec, place: Place) -> dict[str, Any]:
    """How a record begins; ``load`` is that of the machine at this moment."""
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"variant": spec.variant, "started": started, "load": load(place.jobs), "spec": spec.to_json()}


def describe_error(error: BaseException) -> dict[str, str]:
    """Type, message and the last lines of the traceback, with files named as importable, not where they lie."""
    lines = "".join(traceback.format_exception(error))
    told = re.sub(r'File "([^"]+)"', lambda found: f'File "{_importable(found[1])}"', lines)
    message = str(error).strip() or type(error).__name__
    return {"type": type(error).__name__, "message": message[:500], "traceback": told[-2000:]}


def _importable(file: str) -> str:
    """``file`` below the entry of ``sys.path`` it was found through; only its name where there is none."""
    for root in sorted(filter(None, sys.path), key=len, reverse=True):
        if file.startswith(root.rstrip("/") + "/"):
            return file[len(root.rstrip("/")) + 1 :]
    return Path(file).name


def record_death(spec: RunSpec, place: Place) -> None:
    """Record a run that took its worker process with it."""
    error = {
        "type": "WorkerDied",
        "message": "the worker process died in this run, twice; it was killed or ran out of memory",
        "traceback": "",
    }
    writer = store_of(place.out).writer()
    writer.append(
        spec.key,
        "failed",
        opening(spec, place) | {"error": error, "checkpoints": [], "seconds": None} | machine(place.device),
    )
    writer.close()
