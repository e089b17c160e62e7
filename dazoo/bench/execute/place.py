"""Where runs happen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dazoo.bench.records.remote import is_remote, mirror_of, normal
from dazoo.bench.records.size import BUDGET, size_of


@dataclass(frozen=True)
class Place:
    """Where runs happen; nothing in here changes a result, but that ``processes`` round differently.

    ``out`` is the result folder, or the address of one on an object store (``bench.records.remote``); ``method_files``
    are Python files whose methods must be loaded first, ``keep`` is the number of bytes of outputs that may be kept in
    the folder. ``stack`` is the largest number of runs that train as one batched model; None is 64 on CUDA and 1 on a
    CPU, where it gains nothing. ``jobs`` is the number of workers. ``devices`` are those that workers of one machine
    take in turns, where there are several. ``processes`` share the rows of each batch of a run (``engine.parallel``),
    which then trains in no group.
    """

    out: str
    data_root: str | None = None
    device: str = "cpu"
    method_files: tuple[str, ...] = ()
    keep: int = size_of(BUDGET)
    stack: int | None = None
    jobs: int = 1
    devices: tuple[str, ...] = ()
    processes: int = 1

    @property
    def folder(self) -> Path:
        """The result folder, or the mirror of one that is on an object store."""
        return mirror_of(normal(self.out)) if is_remote(self.out) else Path(self.out)

    @property
    def group(self) -> int:
        """The largest number of runs in a group."""
        if self.processes > 1:
            return 1
        return self.stack or (64 if self.device.startswith("cuda") else 1)
