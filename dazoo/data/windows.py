"""Samples on disk in an order that is random enough: windows of random chunks, each shuffled in memory.

Rows are cut into chunks of neighbours (a shard, or what reads well at once); a pass goes through all chunks in a random
order, as many at a time as a window holds. A window is what a shuffle buffer is, and its state is its number: its rows
are a function of that and of the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks

WINDOW_BYTES = 1 << 29
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Windows:
    """Windows of at most ``size`` rows (but of whole chunks), of chunks that begin at the rows ``cuts[:-1]`` and end at
    ``cuts[1:]``. Where one window holds all rows, it is the rows in their order."""

    cuts: np.ndarray[Any, Any]
    size: int
    seed: int

    @property
    def n(self) -> int:
        return int(self.cuts[-1])

    @property
    def whole(self) -> bool:
        """Whether one window holds all rows."""
        return self.size >= self.n

    @property
    def each(self) -> int:
        """Chunks of a window: so many that even the largest fit into it, and at least one."""
        largest = np.sort(np.diff(self.cuts))[::-1]
        return max(1, int(np.searchsorted(np.cumsum(largest), self.size, side="right")))

    @property
    def per_pass(self) -> int:
        """Windows of a pass; chunks that make no whole window wait for the next pass."""
        return 1 if self.whole else max(1, (len(self.cuts) - 1) // self.each)

    def rows(self, window: int) -> Tensor:
        """Rows, ascending, of the window number ``window``, counted from 0 through all passes."""
        if self.whole:
            return torch.arange(self.n)
        turn, at = divmod(window, self.per_pass)
        order = np.random.default_rng([self.seed, turn]).permutation(len(self.cuts) - 1)
        mine = np.sort(order[at * self.each : (at + 1) * self.each])
        return torch.from_numpy(np.concatenate([np.arange(self.cuts[k], self.cuts[k + 1]) for k in mine]))


def windows_of(x: Blocks, seed: int, row_bytes: int, size: int | None = None) -> Windows:
    """Windows of samples whose rows take ``row_bytes`` in memory; of ``size`` rows, or of ``WINDOW_BYTES``."""
    size = size or max(1, WINDOW_BYTES // max(1, row_bytes))
    return Windows(x.cuts(max(1, min(CHUNK_BYTES // max(1, row_bytes), size // 16))), size, seed)
