"""Samples that stay on disk and come in blocks: memory maps, folders of arrays, parquet, tar shards.

``Blocks`` stand where a tensor of samples would, in a ``Domain`` and in what a method sees. They are read in order, a
block at a time, or by rows; nothing keeps what was read, so that memory is bounded by a block. Files are opened by
``dazoo.data.block_files`` and ``dazoo.data.blocks``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError

BLOCK_BYTES = 4 << 20  # of a block in double precision: what stays near the processor while it is worked on
LOOKED_AT = 1 << 17  # samples that transforms are fitted to


class Blocks:
    """Samples (n, ...) on disk. ``shape`` and ``dtype`` are those of the array that they would make."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self, start: int, stop: int) -> Tensor:
        """The rows from ``start`` to before ``stop``."""
        raise NotImplementedError

    def take(self, rows: Tensor) -> Tensor:
        """The rows of these indices (k,), in their order; runs of neighbours are read at once."""
        if not len(rows):
            return self.read(0, 0)
        order = torch.argsort(rows, stable=True)
        ascending = rows[order]
        cuts = torch.nonzero(ascending.diff() != 1)[:, 0] + 1
        ends = [*cuts.tolist(), len(rows)]
        parts, at = [], 0
        for end in ends:
            parts.append(self.read(int(ascending[at]), int(ascending[end - 1]) + 1))
            at = end
        found = torch.cat(parts)
        out = torch.empty_like(found)
        out[order] = found
        return out

    # -- what is the same for all -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def per_block(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK_BYTES // (8 * max(1, int(np.prod(self.shape[1:], dtype=np.int64)))))

    def cuts(self, rows: int) -> np.ndarray[Any, Any]:
        """Where chunks of about ``rows`` neighbours begin, and n at the end; what is read at once is one chunk."""
        return np.linspace(0, len(self), max(1, -(-len(self) // rows)) + 1).astype(np.int64)

    def blocks(self, size: int | None = None) -> Iterator[Tensor]:
        """All rows in their order, ``size`` at a time."""
        size = size or self.per_block
        for start in range(0, len(self), size):
            yield self.read(start, min(start + size, len(self)))

    def __getitem__(self, rows: Any) -> Tensor:
        """Some rows, in memory; ``chosen`` leaves them on disk."""
        if isinstance(rows, (int, np.integer)):
            at = int(rows) + (len(self) if rows < 0 else 0)
            return self.read(at, at + 1)[0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return self.read(start, max(start, stop)) if step == 1 else self.take(torch.arange(start, stop, step))
        rows = torch.as_tensor(rows)
        return self.take(torch.nonzero(rows)[:, 0] if rows.dtype == torch.bool else rows)

    def chosen(self, rows: Tensor) -> Blocks:
        """Some rows that stay on disk; these blocks where they are all in order."""
        return self if len(rows) == len(self) and bool((rows.diff() == 1).all()) else Chosen(self, rows)

    def through(self, change: Callable[[Tensor], Tensor]) -> Blocks:
        """The samples under a map of rows (n, d) to (n, k), made anew whenever they are read."""
        one = change(self.read(0, 1))
        return Changed(self, change, (len(self), *one.shape[1:]), one.dtype)

    def __add__(self, shift: Tensor) -> Blocks:
        return self.through(lambda x: x + shift)

    def __sub__(self, shift: Tensor) -> Blocks:
        return self.through(lambda x: x - shift)

    def join(self, others: Sequence[Blocks]) -> Blocks:
        """These rows and those of others."""
        return Joined.of([self, *others])

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def tensor(self) -> Tensor:
        """All rows in memory."""
        return self.read(0, len(self))

    def digest(self) -> bytes:
        """Hash of the content."""
        digest = hashlib.sha256(repr((self.shape, str(self.dtype))).encode())
        for block in self.blocks():
            digest.update(np.ascontiguousarray(block.numpy()).data)
        return digest.digest()

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} of {self.shape} {str(self.dtype).removeprefix('torch.')} on disk>"


@dataclass(frozen=True, eq=False, repr=False)
class InMemory(Blocks):
    """Rows of a tensor, for what is small and stands beside blocks."""

    x: Tensor

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return tuple(self.x.shape)

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.x.dtype

    def read(self, start: int, stop: int) -> Tensor:
        return self.x[start:stop]

    def take(self, rows: Tensor) -> Tensor:
        return self.x[rows]


@dataclass(frozen=True, eq=False, repr=False)
class Chosen(Blocks):
    """Some ``rows`` of other blocks, in this order."""

    base: Blocks
    rows: Tensor

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (len(self.rows), *self.base.shape[1:])

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.base.dtype

    def read(self, start: int, stop: int) -> Tensor:
        return self.base.take(self.rows[start:stop])

    def take(self, rows: Tensor) -> Tensor:
        return self.base.take(self.rows[rows])


@dataclass(frozen=True, eq=False, repr=False)
class Changed(Blocks):
    """Other blocks under a map of rows."""

    base: Blocks
    change: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def per_block(self) -> int:
        return min(self.base.per_block, super().per_block)

    def cuts(self, rows: int) -> np.ndarray[Any, Any]:
        return self.base.cuts(rows)

    def read(self, start: int, stop: int) -> Tensor:
        return self.change(self.base.read(start, stop))

    def take(self, rows: Tensor) -> Tensor:
        return self.change(self.base.take(rows))


@dataclass(frozen=True, eq=False, repr=False)
class Joined(Blocks):
    """Parts behind each other, which begin at the rows ``starts`` (and end where the next begins)."""

    parts: tuple[Blocks, ...]
    starts: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype

    @staticmethod
    def of(parts: Sequence[Blocks]) -> Blocks:
        """The parts as one; samples of one shape, types by promotion."""
        if len(parts) == 1:
            return parts[0]
        shapes = {p.shape[1:] for p in parts}
        if len(shapes) > 1:
            raise DazooError(f"blocks that belong together have samples of the shapes {sorted(shapes)}; give one shape")
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        starts = np.cumsum([0, *(len(p) for p in parts)])
        return Joined(tuple(parts), tuple(starts.tolist()), (int(starts[-1]), *parts[0].shape[1:]), dtype)

    def cuts(self, rows: int) -> np.ndarray[Any, Any]:
        return np.concatenate([at + part.cuts(rows)[:-1] for part, at in zip(self.parts, self.starts)] + [[len(self)]])

    def read(self, start: int, stop: int) -> Tensor:
        found = [
            part.read(max(start - at, 0), min(stop - at, len(part)))
            for part, at in zip(self.parts, self.starts)
            if at < stop and at + len(part) > start
        ]
        return torch.cat([f.to(self.dtype) for f in found]) if found else self.parts[0].read(0, 0).to(self.dtype)

    def take(self, rows: Tensor) -> Tensor:
        out = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        which = torch.searchsorted(torch.tensor(self.starts[1:]), rows, right=True)
        for k in which.unique().tolist():
            mine = which == k
            out[mine] = self.parts[k].take(rows[mine] - self.starts[k]).to(self.dtype)
        return out


def some_of(x: Tensor, most: int = LOOKED_AT) -> Tensor:
    """Samples in memory as they are; of blocks, at most ``most`` evenly spaced ones."""
    if not isinstance(x, Blocks):
        return x
    return x.tensor() if len(x) <= most else x[torch.arange(most) * len(x) // most]
