"""Opening what holds more samples than memory does: arrays, folders of arrays, parquet, tar shards.

======================  ========================================================================================
``x.npy``               one array (n, ...); ``np.load(path, mmap_mode="r")`` may be given to a task as it is
a folder of ``.npy``    arrays behind each other, in the order of their names
``x.parquet``           a row per sample; or a folder of them. ``columns`` are the features (by default all numbers
                        but ``label``), ``label`` the column of labels
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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, Joined
from dazoo.core.errors import DazooError
from dazoo.data.blocks import ArrayFile, mapped

RECENT = 4
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
        while len(_RECENT) > RECENT:
            _RECENT.popitem(last=False)
        return _RECENT[self, k]

    def read(self, start: int, stop: int) -> Tensor:
        first, last = (int(np.searchsorted(self.starts, at, side="right")) - 1 for at in (start, max(stop - 1, start)))
        if stop <= start or start >= len(self):
            return self._group(0)[:0]
        parts = [self._group(k) for k in range(first, last + 1)]
        return torch.cat(parts)[start - self.starts[first] : stop - self.starts[first]]


_RECENT: OrderedDict[tuple[Groups, int], Tensor] = OrderedDict()
"""The groups that were read last, of all files together."""


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
    numeric = [f.name for f in schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    names = list(columns) if columns is not None else [n for n in numeric if n != label]
    if lacking := [n for n in names if n not in numeric]:
        raise DazooError(f"{path}: {', '.join(map(repr, lacking[:5]))} are no columns of numbers in it")
    if not names or not file.metadata.num_rows:
        raise DazooError(f"{path} has no columns of numbers or no rows")
    counts = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    wide = any(schema.field(n).type == pa.float64() for n in names)

    def load(k: int) -> Tensor:
        table = pq.ParquetFile(path).read_row_group(k, columns=names)
        kind = np.float64 if wide else np.float32
        return torch.from_numpy(np.stack([table.column(n).to_numpy().astype(kind) for n in names], 1))

    y = file.read(columns=[label]).column(0).to_numpy(zero_copy_only=False) if label in schema.names else None
    return _grouped(load, counts, torch.float64 if wide else torch.float32, (len(names),)), y


def _tar(path: Path) -> tuple[Blocks, np.ndarray[Any, Any] | None]:
    """One shard, a group as a whole; its samples are looked at once for their number, shape and labels."""
    found = _shard(path)
    y = None
    if labels := [label for _, label in found if label is not None]:
        if len(labels) < len(found):
            raise DazooError(f"{path}: {len(labels)} of {len(found)} samples have a .cls; label all or none")
        y = np.array([int(v) if v.lstrip("-").isdigit() else v for v in labels])
    if len(shapes := {x.shape for x, _ in found}) != 1:
        raise DazooError(f"{path}: samples of one shape are needed, not of {sorted(shapes)[:4] or 'none'}")
    first = torch.from_numpy(found[0][0])
    load: Callable[[int], Tensor] = lambda _: torch.from_numpy(np.stack([x for x, _ in _shard(path)]))  # noqa: E731
    return _grouped(load, [len(found)], first.dtype, tuple(first.shape)), y


def _shard(path: Path) -> list[tuple[np.ndarray[Any, Any], str | None]]:
    """Samples and labels of a shard in the order of its members; what belongs together has one key."""
    samples: dict[str, np.ndarray[Any, Any]] = {}
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
                if ending == "npy":
                    samples[key] = np.load(io.BytesIO(data.read()))
                elif f".{ending.lower()}" in PICTURES:
                    from PIL import Image

                    with Image.open(io.BytesIO(data.read())) as picture:
                        samples[key] = np.asarray(picture.convert("RGB"))
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
