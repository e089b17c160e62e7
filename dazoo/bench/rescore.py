"""Scores of validators for runs that are finished, from their kept outputs and without training anything again."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dazoo.bench.kept import Kept, KeptEvidence
from dazoo.bench.plan import Protocol, RunSpec
from dazoo.bench.run import Place, Runner


def evidence_of(folder: str | Path, record: dict[str, Any], index: int, data_root: str | None = None) -> KeptEvidence:
    """What validators may ask for about checkpoint ``index`` of the run of ``record``.

    Raises:
        DazooError: the outputs of the run were not kept.
    """
    kept = Kept(folder, record["key"])
    return KeptEvidence(kept, index, lambda: _runner(str(folder), data_root).task(spec_of(record)).seen())


@lru_cache(maxsize=2)
def _runner(folder: str, data_root: str | None) -> Runner:
    return Runner(Place(folder, data_root))


def spec_of(record: dict[str, Any]) -> RunSpec:
    """The run a record is of."""
    fields = dict(record["spec"])
    return RunSpec(protocol=Protocol(**fields.pop("protocol")), **fields)
