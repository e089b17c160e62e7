"""Arrays in files as blocks: memory maps that are larger than memory likes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError

STREAM_BYTES = 1 << 30  # memory maps that are larger in double precision stay on disk by themselves


@dataclass(frozen=True, eq=False, repr=False)
class ArrayFile(Blocks):
    """Rows of an array in a file, in C order from ``offset``. They are read, not mapped: pages of a map would count as
    memory of the process for as long as the system likes."""

    path: Path
    kind: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return torch.from_numpy(np.empty(0, self.kind.newbyteorder("="))).dtype

    def read(self, start: int, stop: int) -> Tensor:
        each = int(np.prod(self.shape[1:], dtype=np.int64))
        found = np.fromfile(
            self.path, self.kind, (stop - start) * each, offset=self.offset + start * each * self.kind.itemsize
        )
        if len(found) != (stop - start) * each:
            raise DazooError(f"{self.path} is shorter than its {self.shape[0]} samples; was it written to the end?")
        return torch.from_numpy(found.astype(self.kind.newbyteorder("="), copy=False).reshape(-1, *self.shape[1:]))

    def take(self, rows: Tensor) -> Tensor:
        mapped = np.memmap(self.path, self.kind, "r", self.offset, self.shape)  # for this call alone
        return torch.from_numpy(mapped[rows.numpy()].astype(self.kind.newbyteorder("="), copy=False))


def on_disk(x: Any) -> Blocks | None:
    """Blocks of a memory map that is too large for memory (``STREAM_BYTES`` in double precision), and blocks as they
    are; None for everything else. Pictures in bytes stay mapped as they are: they never become doubles."""
    if isinstance(x, Blocks):
        return x
    if not isinstance(x, np.memmap) or x.dtype.kind != "f" or x.size * 8 <= STREAM_BYTES:
        return None
    return mapped(x)


def mapped(x: np.memmap[Any, Any]) -> Blocks | None:
    """Blocks of a memory map; None where its rows do not lie behind each other in a file, or hold unsaved changes."""
    base: Any = x
    while isinstance(base.base, np.memmap):
        base = base.base
    if x.filename is None or not x.flags.c_contiguous or x.ndim < 2 or getattr(base, "mode", None) == "c":
        return None
    skipped = x.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    if hasattr(x, "flush") and getattr(base, "mode", "r") != "r":
        base.flush()
    return ArrayFile(Path(x.filename), x.dtype, tuple(x.shape), int(base.offset) + skipped)
