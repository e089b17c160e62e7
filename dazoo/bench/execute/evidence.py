"""What validators and figures may ask for about a finished run, from its kept outputs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import RunSpec
from dazoo.bench.plan.protocol import Protocol
from dazoo.bench.records.kept import Kept, KeptEvidence


def evidence_of(folder: str | Path, record: dict[str, Any], index: int, data_root: str | None = None) -> KeptEvidence:
    """What validators may ask for about checkpoint ``index`` of the run of ``record``.

    Raises:
        DazooError: the outputs of the run were not kept.
    """
    kept = Kept(folder, record["key"])
    return KeptEvidence(kept, index, lambda: _tasks(str(folder), data_root)(spec_of(record)).seen())


@lru_cache(maxsize=2)
def _tasks(folder: str, data_root: str | None) -> Tasks:
    """The data of a result folder's runs."""
    return Tasks(data_root)


def spec_of(record: dict[str, Any]) -> RunSpec:
    """The run a record is of."""
    fields = dict(record["spec"])
    return RunSpec(protocol=Protocol(**fields.pop("protocol")), **fields)
