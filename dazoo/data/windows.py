"""Samples on disk in an order that is random enough: windows of random chunks, each shuffled in memory.

n rows are cut into chunks of neighbours; a pass goes through all chunks in a random order, and as many as a window
holds are read at a time. A window is what a shuffle buffer is, with a state of two numbers (which pass, which window):
rows are a function of the seed and of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

WINDOW_BYTES = 1 << 30
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Windows:
    """``n`` rows in windows of about ``size`` rows, of chunks of about ``chunk`` rows. Where one window holds them all,
    it is the rows in their order."""

    n: int
    size: int
    chunk: int
    seed: int

    @property
    def chunks(self) -> int:
        return max(1, -(-self.n // max(1, min(self.chunk, self.size))))

    @property
    def each(self) -> int:
        """Chunks of a window."""
        return max(1, self.chunks * self.size // self.n)

    @property
    def per_pass(self) -> int:
        """Windows of a pass; chunks that make no whole window wait for the next pass."""
        return max(1, self.chunks // self.each)

    @property
    def whole(self) -> bool:
        """Whether one window holds all rows."""
        return self.size >= self.n

    def rows(self, window: int) -> Tensor:
        """Rows, ascending, of the window number ``window``, counted from 0 through all passes."""
        if self.whole:
            return torch.arange(self.n)
        turn, at = divmod(window, self.per_pass)
        order = np.random.default_rng([self.seed, turn]).permutation(self.chunks)
        mine = np.sort(order[at * self.each : (at + 1) * self.each])
        # chunks of equal size up to one row
        starts, ends = mine * self.n // self.chunks, (mine + 1) * self.n // self.chunks
        return torch.from_numpy(np.concatenate([np.arange(a, b) for a, b in zip(starts, ends)]))


def windows_of(shape: tuple[int, ...], seed: int, row_bytes: int, window: int | None = None) -> Windows:
    """Windows of samples of ``shape`` (n, ...) whose rows take ``row_bytes``; ``window`` rows, or ``WINDOW_BYTES``."""
    size = window or max(1, WINDOW_BYTES // max(1, row_bytes))
    return Windows(shape[0], size, max(1, min(CHUNK_BYTES // max(1, row_bytes), size // 16 or 1)), seed)
