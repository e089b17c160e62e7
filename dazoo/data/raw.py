"""Samples that are no dense numbers: texts, tables of mixed types, sparse matrices, series and recordings of unlike
length.

All of them follow one small protocol, ``Raw``: rows by index, a length, and content that can be hashed. An encoder
(``dazoo.encoders``) makes numbers of them before a method sees them.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, InMemory
from dazoo.core.errors import DazooError, DazooWarning

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound="Raw")
RAW_KINDS = ("text", "audio", "series", "table", "sparse")


class Raw:
    """Rows of samples. ``kind`` is that of ``Domain.kind``; ``form`` what all samples of it have in common."""

    kind: str
    form: tuple[int, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self: R, rows: np.ndarray) -> R:
        """The rows of these indices, in their order."""
        raise NotImplementedError

    def contents(self) -> Iterator[bytes]:
        """The content of every row."""
        raise NotImplementedError

    def join(self: R, others: Sequence[R]) -> R:
        """These rows and those of others."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Memory of the rows, roughly."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """Why no encoder could read these rows, with the remedy."""
        return None

    def unlike(self, other: Raw) -> str | None:
        """Why rows of ``other`` cannot stand beside these, with the remedy."""
        if self.kind != other.kind:
            return f"holds {other.kind} samples, not {self.kind} samples; bring them to one kind first"
        if self.form != other.form:
            return f"has samples of form {other.form}, not {self.form}; give all samples the same columns or channels"
        return None

    # -- what is the same for all ---------------------------------------------------------------------------------

    def __getitem__(self: R, rows: Any) -> R:
        if isinstance(rows, slice):
            return self.take(np.arange(len(self))[rows])
        where = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
        return self.take(np.flatnonzero(where) if where.dtype == bool else np.atleast_1d(where).astype(np.int64))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...), as far as all samples share it."""
        return (len(self), *self.form)

    def hashes(self) -> list[str]:
        """A hash of every row's content."""
        return [hashlib.blake2b(row, digest_size=12).hexdigest() for row in self.contents()]

    def digest(self) -> bytes:
        """A hash of all rows in their order."""
        whole = hashlib.sha256(repr((self.kind, self.shape)).encode())
        for row in self.contents():
            whole.update(len(row).to_bytes(8, "little") + row)
        return whole.digest()


@dataclass(frozen=True, eq=False, repr=False)
class Texts(Raw):
    """Texts (n,) as an array of ``str``."""

    values: np.ndarray
    kind: str = "text"

    @staticmethod
    def of(texts: Sequence[str]) -> Texts:
        """From anything that holds strings."""
        found = np.empty(len(texts), dtype=object)
        found[:] = [str(t) for t in texts]
        return Texts(found)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def take(self, rows: np.ndarray) -> Texts:
        return replace(self, values=self.values[rows])

    def contents(self) -> Iterator[bytes]:
        return (t.encode("utf-8", "surrogatepass") for t in self.values)

    def join(self, others: Sequence[Texts]) -> Texts:
        return replace(self, values=np.concatenate([self.values, *(o.values for o in others)]))

    @property
    def nbytes(self) -> int:
        return sum(map(len, self.values)) + 64 * len(self)

    def problem(self) -> str | None:
        if not any(t.strip() for t in self.values):
            return "all of its texts are empty; give texts that hold words"
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Ragged(Raw):
    """Series of unlike length: ``values`` (sum of lengths, channels) one after another, ``ends`` (n,) where each ends.

    ``kind`` is ``series`` or ``audio``; ``rate`` is the number of steps per second, where it is known.
    """

    values: np.ndarray
    ends: np.ndarray
    kind: str = "series"
    rate: float | None = None

    @staticmethod
    def of(rows: Sequence[np.ndarray], kind: str = "series", rate: float | None = None) -> Ragged:
        """From arrays (channels, length) or (length,), all with the same number of channels."""
        parts = [np.atleast_2d(np.asarray(r, dtype=np.float32)).T for r in rows]
        if len({p.shape[1] for p in parts}) > 1:
            raise DazooError(
                f"the {kind} samples of a task need one number of channels; give all as (channels, length)"
            )
        ends = np.cumsum([len(p) for p in parts]).astype(np.int64)
        return Ragged(np.concatenate(parts) if parts else np.zeros((0, 1), np.float32), ends, kind, rate)

    @property
    def form(self) -> tuple[int, ...]:  # type: ignore[override]
        return (int(self.values.shape[1]),)

    @property
    def starts(self) -> np.ndarray:
        return np.concatenate([[0], self.ends[:-1]]).astype(np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """Steps (n,) of every series."""
        return self.ends - self.starts

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Every series as (length, channels)."""
        return (self.values[a:b] for a, b in zip(self.starts, self.ends))

    def take(self, rows: np.ndarray) -> Ragged:
        starts = self.starts[rows]
        parts = [self.values[a:b] for a, b in zip(starts, self.ends[rows])]
        values = np.concatenate(parts) if parts else self.values[:0]
        return replace(self, values=values, ends=np.cumsum([len(p) for p in parts]).astype(np.int64))

    def contents(self) -> Iterator[bytes]:
        return (np.ascontiguousarray(row).tobytes() for row in self)

    def join(self, others: Sequence[Ragged]) -> Ragged:
        every = (self, *others)
        ends = np.cumsum(np.concatenate([r.lengths for r in every])).astype(np.int64)
        return replace(self, values=np.concatenate([r.values for r in every]), ends=ends)

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes)

    def problem(self) -> str | None:
        if not bool((self.lengths > 0).all()):
            return f"{int((self.lengths == 0).sum())} of {len(self)} series are empty; remove them"
        bad = ~np.isfinite(self.values).all(axis=1)
        if bad.any():
            which = int(np.searchsorted(self.ends, np.flatnonzero(bad)[0], side="right"))
            return f"NaN or infinite values stand in its samples, first in number {which}; remove or impute them"
        return None

    def unlike(self, other: Raw) -> str | None:
        if isinstance(other, Ragged) and self.rate and other.rate and self.rate != other.rate:
            return f"has {other.rate:g} steps per second, not {self.rate:g}; resample it first"
        return super().unlike(other)


@dataclass(frozen=True, eq=False, repr=False)
class Sparse(Raw):
    """A sparse matrix (n, d) of numbers, in compressed rows."""

    values: Any
    kind: str = "sparse"

    @property
    def form(self) -> tuple[int, ...]:  # type: ignore[override]
        return (int(self.values.shape[1]),)

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, rows: np.ndarray) -> Sparse:
        return replace(self, values=self.values[rows])

    def contents(self) -> Iterator[bytes]:
        m = self.values
        return (
            m.indices[a:b].astype(np.int64).tobytes() + m.data[a:b].astype(np.float64).tobytes()
            for a, b in zip(m.indptr[:-1], m.indptr[1:])
        )

    def join(self, others: Sequence[Sparse]) -> Sparse:
        from scipy import sparse

        return replace(self, values=sparse.vstack([self.values, *(o.values for o in others)]).tocsr())

    @property
    def nbytes(self) -> int:
        return int(self.values.data.nbytes + self.values.indices.nbytes + self.values.indptr.nbytes)

    def problem(self) -> str | None:
        if not bool(np.isfinite(self.values.data).all()):
            return "NaN or infinite values stand in its samples; remove or impute them"
        return None


@dataclass(frozen=True, eq=False, repr=False)
class Table(Raw):
    """Rows of a table with columns of mixed types, missing values included.

    ``roles`` says what a column is (``number``, ``category``, ``date``, ``text`` ...), where somebody said so; an
    encoder infers the others from what the task shows.
    """

    frame: pd.DataFrame
    roles: dict[str, str] = field(default_factory=dict)
    kind: str = "table"

    @property
    def form(self) -> tuple[int, ...]:  # type: ignore[override]
        return (int(self.frame.shape[1]),)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(str, self.frame.columns))

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: np.ndarray) -> Table:
        return replace(self, frame=self.frame.iloc[rows])

    def contents(self) -> Iterator[bytes]:
        return (repr(row).encode("utf-8", "surrogatepass") for row in self.frame.itertuples(index=False, name=None))

    def join(self, others: Sequence[Table]) -> Table:
        import pandas as pd

        return replace(self, frame=pd.concat([self.frame, *(o.frame for o in others)], ignore_index=True))

    @property
    def nbytes(self) -> int:
        return int(self.frame.memory_usage(deep=False).sum())

    def unlike(self, other: Raw) -> str | None:
        return None if isinstance(other, Table) else super().unlike(other)

    def with_columns(self, names: Sequence[str], whose: str) -> Table:
        """The columns ``names``, found by name; those that are lacking are empty, which a warning says."""
        frame = self.frame.set_axis(list(self.names), axis=1)
        lacking = [n for n in names if n not in frame.columns]
        if len(lacking) == len(names):
            raise DazooError(f"{whose} has none of the columns {list(names)[:5]}; columns are matched by name")
        if lacking:
            warnings.warn(f"{whose} lacks the columns {lacking[:5]}; they are empty", DazooWarning, stacklevel=6)
        extra = [n for n in frame.columns if n not in names]
        if extra:
            warnings.warn(f"{whose}: the columns {extra[:5]} are not used", DazooWarning, stacklevel=6)
        return replace(self, frame=frame.reindex(columns=list(names)))


def joined(parts: Sequence[Any]) -> Any:
    """Samples one after the other, dense, raw or on disk; one part is itself."""
    first, *others = parts
    if not others:
        return first
    if any(isinstance(p, Blocks) for p in parts):
        first, *others = (p if isinstance(p, Blocks) else InMemory(p) for p in parts)
        return first.join(others)
    return first.join(others) if isinstance(first, Raw) else torch.cat(list(parts))
