"""Opening what holds more samples than memory does: arrays, folders of arrays, parquet, tar shards.

======================  ========================================================================================
``x.npy``               one array (n, ...); ``np.load(path, mmap_mode="r")`` may be given to a task as it is
a folder of ``.npy``    arrays behind each other, in the order of their names
``x.parquet``           a row per sample; or a folder of them. ``columns`` are the features: numbers, or lists of as
                        many numbers in every row (by default all such but ``label``), ``label`` the column of labels
a folder of ``.tar``    shards as WebDataset writes them: ``key.npy`` (or ``.png``, ``.jpg``) and ``key.cls``
======================  ========================================================================================
"""

from __future__ import annotations

import io
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, Joined
from dazoo.core.errors import DazooError
from dazoo.data.blocks import ArrayFile, mapped

RECENT = 4
RECENT_BYTES = 256 << 20
T = TypeVar("T")
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False, repr=False)
class Labelled(Blocks):
    """Blocks with the labels ``y`` (n,) that lie beside the samples; None where there are none."""

    base: Blocks
    y: np.ndarray[Any, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.base.shape

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.base.dtype

    def read(self, start: int, stop: int) -> Tensor:
        return self.base.read(start, stop)

    def cuts(self, rows: int) -> np.ndarray[Any, Any]:
        return self.base.cuts(rows)

    def take(self, rows: Tensor) -> Tensor:
        return self.base.take(rows)


@dataclass(frozen=True, eq=False, repr=False)
class Groups(Blocks):
    """Samples that are stored in groups of which one can only be read as a whole; the last few are kept."""

    load: Callable[[int], Tensor]
    starts: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def cuts(self, rows: int) -> np.ndarray[Any, Any]:
        return np.array([*self.starts, len(self)])

    def _group(self, k: int) -> Tensor:
        if (self, k) not in _RECENT:
            _RECENT[self, k] = self.load(k)
        _RECENT.move_to_end((self, k))
        while len(_RECENT) > 1 and (len(_RECENT) > RECENT or sum(x.nbytes for x in _RECENT.values()) > RECENT_BYTES):
            _RECENT.popitem(last=False)
        return _RECENT[self, k]

    def read(self, start: int, stop: int) -> Tensor:
        first, last = (int(np.searchsorted(self.starts, at, side="right")) - 1 for at in (start, max(stop - 1, start)))
        if stop <= start or start >= len(self):
            return self._group(0)[:0]
        parts = [self._group(k) for k in range(first, last + 1)]
        return torch.cat(parts)[start - self.starts[first] : stop - self.starts[first]]


_RECENT: OrderedDict[tuple[Groups, int], Tensor] = OrderedDict()
"""The groups that were read last, of all files together: few in number and in bytes."""


def open_blocks(path: str | Path, label: str = "label", columns: Sequence[str] | None = None) -> Labelled:
    """The samples of a file or folder, which stay there; ``.y`` are the labels beside them.

    Args:
        label: of parquet files, the column of labels, where there is one of that name.
        columns: of parquet files, the features.

    Raises:
        DazooError: there are no such samples, or they are of unlike shapes.
    """
    path = Path(path)
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    kinds = {p.suffix for p in files} & {".npy", ".parquet", ".tar"}
    if not path.exists() or len(kinds) != 1:
        found = "no such file" if not path.exists() else f"it holds {', '.join(sorted(kinds)) or 'none of them'}"
        raise DazooError(f"{path}: samples on disk are .npy, .parquet or .tar files of one kind; {found}")
    kind = kinds.pop()
    files = [p for p in files if p.suffix == kind]
    if kind == ".npy":
        return Labelled(Joined.of([_array(p) for p in files]))
    parts = [_parquet(p, label, columns) if kind == ".parquet" else _tar(p) for p in files]
    labels = [y for _, y in parts if y is not None]
    if labels and len(labels) < len(parts):
        raise DazooError(f"{path}: {len(labels)} of {len(parts)} files hold labels; label all or none")
    return Labelled(Joined.of([x for x, _ in parts]), np.concatenate(labels) if labels else None)


def _array(path: Path) -> Blocks:
    try:
        x = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise DazooError(f"{path} holds no array of numbers ({error})") from None
    blocks = mapped(x)
    if not isinstance(blocks, ArrayFile):
        raise DazooError(f"{path} holds an array of shape {x.shape} in Fortran order or one axis; write it in C order")
    return blocks


def _parquet(path: Path, label: str, columns: Sequence[str] | None) -> tuple[Blocks, np.ndarray[Any, Any] | None]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    kinds = {f.name: f.type.value_type if _is_list(f.type) else f.type for f in schema}
    numeric = [n for n, kind in kinds.items() if pa.types.is_floating(kind) or pa.types.is_integer(kind)]
    names = list(columns) if columns is not None else [n for n in numeric if n != label]
    if lacking := [n for n in names if n not in numeric]:
        raise DazooError(f"{path}: {', '.join(map(repr, lacking[:5]))} are no columns of numbers in it")
    if not names or not file.metadata.num_rows:
        raise DazooError(f"{path} has no columns of numbers or no rows")
    counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    wide = any(kinds[n] == pa.float64() for n in names)

    def load(k: int) -> Tensor:
        table = pq.ParquetFile(path).read_row_group(k, columns=names)
        kind = np.float64 if wide else np.float32
        parts = [_columns(path, table.column(n)).astype(kind) for n in names]
        if (width := sum(part.shape[1] for part in parts)) != d:
            raise DazooError(
                f"{path}: rows of one row group have {d} numbers, of another {width}; write as many in all"
            )
        return torch.from_numpy(np.concatenate(parts, 1))

    head = next(file.iter_batches(1, columns=names))
    d = sum(len(head.column(n)[0]) if _is_list(head.column(n).type) else 1 for n in names)
    y = file.read(columns=[label]).column(0).to_numpy(zero_copy_only=False) if label in schema.names else None
    return _grouped(load, counts, torch.float64 if wide else torch.float32, (d,)), y


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _columns(path: Path, column: Any) -> np.ndarray[Any, Any]:
    """A column of numbers, or of lists of as many numbers in every row, as (n, k)."""
    if not _is_list(column.type):
        return column.to_numpy()[:, None]  # type: ignore[no-any-return]
    import pyarrow.compute as pc

    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise DazooError(f"{path}: lists in a column must hold as many numbers in every row, not {lengths[:4]}")
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(len(column), -1)


def _tar(path: Path) -> tuple[Blocks, np.ndarray[Any, Any] | None]:
    """One shard, a group as a whole; the heads of its samples are looked at once for number, shape and labels."""
    found = _shard(path, _head)
    y = None
    if labels := [label for _, label in found if label is not None]:
        if len(labels) < len(found):
            raise DazooError(f"{path}: {len(labels)} of {len(found)} samples have a .cls; label all or none")
        y = np.array([int(v) if v.lstrip("-").isdigit() else v for v in labels])
    if len(heads := {x for x, _ in found}) != 1:
        shapes = sorted({shape for shape, _ in heads})[:4] or "none"
        raise DazooError(f"{path}: samples of one shape and type are needed, not of {shapes}")
    ((shape, kind),) = heads
    load: Callable[[int], Tensor] = lambda _: torch.from_numpy(np.stack([x for x, _ in _shard(path, _whole)]))  # noqa: E731
    return _grouped(load, [len(found)], torch.from_numpy(np.empty(0, kind)).dtype, shape), y


def _whole(data: IO[bytes], picture: bool) -> np.ndarray[Any, Any]:
    """A sample, read from a member of a shard."""
    if not picture:
        return np.load(io.BytesIO(data.read()))  # type: ignore[no-any-return]
    from PIL import Image

    with Image.open(data) as found:
        return np.asarray(found.convert("RGB"))


def _head(data: IO[bytes], picture: bool) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Its shape and type, by its first bytes."""
    if picture:
        from PIL import Image

        with Image.open(data) as found:
            return (found.height, found.width, 3), np.dtype(np.uint8)
    formats = np.lib.format
    version = formats.read_magic(data)  # type: ignore[no-untyped-call]
    read = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
    shape, _, kind = read(data)  # type: ignore[no-untyped-call]
    return shape, kind


def _shard(path: Path, read: Callable[[IO[bytes], bool], T]) -> list[tuple[T, str | None]]:
    """What ``read`` takes of the samples of a shard, and their labels, in the order of its members; what belongs
    together has one key."""
    samples: dict[str, T] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                data, key = tar.extractfile(member), f"{folder}/{key}"
                assert data is not None
                if ending == "npy" or f".{ending.lower()}" in PICTURES:
                    samples[key] = read(data, ending != "npy")
                elif ending == "cls":
                    labels[key] = data.read().decode().strip()
    except (tarfile.TarError, ValueError, OSError) as error:
        raise DazooError(f"{path} is no readable shard ({error})") from error
    return [(x, labels.get(key)) for key, x in samples.items()]


def _grouped(
    load: Callable[[int], Tensor], counts: Sequence[int], dtype: torch.dtype, shape: tuple[int, ...]
) -> Groups:
    starts = np.cumsum([0, *counts])
    return Groups(load, tuple(starts[:-1].tolist()), (int(starts[-1]), *shape), dtype)
