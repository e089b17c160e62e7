"""Files that unpack to more than they hold: what they claim is known, and refused, before memory is taken for it.

An ``.npz`` file is a zip archive of arrays. Its directory states the unpacked size of every member, the head of a
member the shape and type of its array; both must agree, and no more is unpacked than the directory says. Archives, gzip
files and Parquet files may unpack to ``UNPACKED`` bytes, and to more where they are large themselves (``RATIO``).
"""

from __future__ import annotations

import gzip
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from dazoo.core.errors import DazooError

UNPACKED, RATIO = 2_000_000_000, 100
"""A file may unpack to ``UNPACKED`` bytes, or to ``RATIO`` times its own size where that is more."""
DEFLATE = 1032
"""No stream of zlib grows by more."""
BLOCK = 1 << 20
STORE = "store it without compression, or in several files"


def most_unpacked(path: Path) -> int:
    """Bytes to which a file may unpack."""
    return max(UNPACKED, RATIO * path.stat().st_size)


def check_unpacked(path: Path, size: int, what: str, remedy: str = STORE) -> None:
    """Raise ``DazooError`` where ``what`` of a file would take more bytes than data of its size does."""
    most = most_unpacked(path)
    if size > most:
        raise DazooError(
            f"{path}: {what} would take {size:,} bytes of memory, more than the {most:,} that a file of its size may "
            f"unpack to; {remedy}"
        )


def check_gzip(path: Path) -> None:
    """Unpack a gzip file block by block without keeping any, and refuse it as soon as there is too much.

    Raises:
        DazooError: it unpacks to more than it may. OSError, EOFError, zlib.error: it is damaged.
    """
    if path.stat().st_size * DEFLATE <= most_unpacked(path):
        return
    unpacked = 0
    with gzip.open(path) as file:
        while block := file.read(BLOCK):
            unpacked += len(block)
            check_unpacked(path, unpacked, "its content")


class Archive:
    """The arrays of an ``.npz`` file by name; each is read when asked for, none is unpickled.

    Raises:
        DazooError: an array of Python objects, one that does not fit its member, or more than the file may unpack to.
        FileNotFoundError: there is no such file. zipfile, zlib and numpy raise errors of their own where it is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self._zip = zipfile.ZipFile(path)
        try:
            members = self._zip.infolist()
            check_unpacked(path, sum(m.file_size for m in members), "its arrays")
            self._members = {m.filename.removesuffix(".npy"): m for m in members}
            self.names = tuple(self._members)
        except BaseException:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        with self._zip.open(member) as file:
            shape, dtype = self._head(file, name)
            left = member.file_size - file.tell()
            entries = math.prod(n or 1 for n in shape)  # even arrays of no bytes can have too many rows to look at
            if min(shape, default=0) < 0 or entries > max(left, BLOCK) or dtype.itemsize * math.prod(shape) != left:
                raise DazooError(f"{self.path}: the array {name!r} claims the shape {shape}, but has {left:,} bytes")
            file.seek(0)
            array: np.ndarray = npy.read_array(file, allow_pickle=False)
            if file.read(1):  # at its end, the checksum is compared
                raise DazooError(f"{self.path}: the array {name!r} is longer than it says")
        return array

    def _head(self, file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
        version = npy.read_magic(file)
        shape, _, dtype = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
        if dtype.hasobject:
            raise DazooError(
                f"{self.path}: the array {name!r} holds Python objects (dtype=object), which are code and are not "
                "loaded; save numbers or text, e.g. numpy.asarray(labels, dtype=str)"
            )
        return shape, dtype

    def close(self) -> None:
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file; errors as of ``Archive``."""
    with Archive(path) as file:
        return {name: file[name] for name in file.names}


def read_given(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file of somebody's own.

    Raises:
        DazooError: it is damaged, or none of plain arrays.
    """
    try:
        return read_archive(path)
    except DazooError:
        raise
    except Exception as error:  # numpy, zipfile and zlib raise many kinds on a damaged file
        raise DazooError(
            f"{path} is damaged or no .npz file of plain arrays ({error}); write it with numpy.savez"
        ) from error
