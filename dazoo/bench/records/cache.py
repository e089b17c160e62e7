"""Lines that were read before, as columns: ``cache/`` in a result folder, made by readers; it may be deleted any time.

The lines stay the truth. ``cache/index.json`` says which bytes of which shard are in which rows of which file, with
the CRC-32 of these bytes; the files are tables as ``parts`` has them, with their checksum in their name. A stretch of a
shard is taken from the cache where the shard has the size, time and inode of the last look, or else where its bytes
have that checksum; everything else is read from the shard: what was appended since, and what the cache lost. Whatever
is wrong with the cache itself costs the time of making it anew.

Readers and writers need not know of each other: files get names of their own and are never changed, the index is put in
place at once, and of two readers that do so at a time one has worked in vain. Folders with few lines have no cache.
"""

from __future__ import annotations

import io
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dazoo.bench.records.columns import table_of
from dazoo.bench.records.lines import RECORDS, Damage, lines_of, parsed, usable
from dazoo.bench.records.parts import read_part, write_table
from dazoo.core.files import retried, write_text
from dazoo.core.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER, INDEX = "cache", "index.json"
FORMAT = 1
WORTH = 4_000_000
"""Bytes of lines below which reading them takes no longer than a cache."""
BATCH = 16_000_000
"""Bytes of lines that are made a table at a time."""
SMALL, MOST = 1_000_000, 8
"""Bytes of a small file of the cache, and how many of them are left as they are."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a file that changes gets another time on any file system."""
ORPHANED = 3600
"""Seconds after which a file that no index names is removed."""


@dataclass
class Stretch:
    """Whole lines of a shard, ``first`` the number of the first, and the rows of a table that hold their records.

    ``places`` say which of the lines cannot be used, and why.
    """

    shard: str
    start: int
    end: int
    first: int
    lines: int
    crc: int
    at: int
    rows: int
    places: list[str]


@dataclass
class File:
    """A file of the cache with what it holds."""

    name: str
    size: int
    held: list[Stretch]


@dataclass
class Index:
    """What the cache holds. ``seen``: size, time and inode of the shards as they were checked, and whether the time was
    long ago enough to tell a later change."""

    files: list[File] = field(default_factory=list)
    seen: dict[str, list[int]] = field(default_factory=dict)

    @staticmethod
    def read(root: Path) -> Index:
        """The index of a cache, empty where there is none that can be read."""
        try:
            data = json.loads((root / INDEX).read_text(encoding="utf-8"))
            if (data["format"], data["version"], data["crc"]) != (FORMAT, VERSION, _crc(data["files"], data["seen"])):
                return Index()
            files = [File(name, size, [Stretch(*s) for s in held]) for name, size, held in data["files"]]
            return Index(files, data["seen"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Index()

    def write(self, root: Path) -> None:
        files = [[f.name, f.size, [list(astuple(s)) for s in f.held]] for f in self.files]
        data = {"format": FORMAT, "version": VERSION, "crc": _crc(files, self.seen), "files": files, "seen": self.seen}
        write_text(root / INDEX, json.dumps(data, separators=(",", ":")))


def _crc(files: Any, seen: Any) -> int:
    return zlib.crc32(json.dumps([files, seen], sort_keys=True).encode())


@dataclass(frozen=True)
class Piece:
    """Lines that no cache holds; what is not ``whole`` is the end of a shard that lacks the end of its line."""

    shard: str
    start: int
    first: int
    text: bytes
    whole: bool

    def lines(self, damage: Damage) -> Iterator[tuple[str, str, bytes]]:
        """``(key, status, line)`` of the usable ones."""
        for key, status, line in lines_of(io.BytesIO(self.text), f"{RECORDS}/{self.shard}", damage, self.first):
            if usable(key, line, damage):
                yield key, status, line


class Lines:
    """All lines of a result folder: ``held`` are in its cache, and the ``rest``, to be read after them, are not."""

    def __init__(self, folder: str | Path, damage: Damage):
        self.records, self.root, self.damage = Path(folder) / RECORDS, Path(folder) / FOLDER, damage
        self.sizes: dict[str, int] = {}
        self.index = Index.read(self.root)
        self.changed = False
        self._check()

    @property
    def worth(self) -> bool:
        """Whether there are enough lines for a cache."""
        return sum(self.sizes.values()) >= WORTH

    def _check(self) -> None:
        """Drop from the index what the shards no longer hold."""
        seen: dict[str, list[int]] = {}
        for path in sorted(self.records.glob("*.jsonl")):
            if path.is_dir():
                self.damage.places.append(f"{RECORDS}/{path.name} is a folder and no shard")
                continue
            with suppress(FileNotFoundError):  # merged into a part since the folder was listed
                stat = retried(path.stat)
                settled = time.time_ns() - stat.st_mtime_ns > SETTLED
                seen[path.name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino, int(settled)]
                self.sizes[path.name] = stat.st_size
        trusted = {name for name, now in seen.items() if now[3] and self.index.seen.get(name) == now}
        for file in self.index.files:
            held = [s for s in file.held if s.shard in trusted or (s.shard in seen and self._same(s))]
            self.changed |= len(held) < len(file.held)
            file.held = held
        self.changed |= seen != self.index.seen
        self.index.seen = seen

    def _same(self, stretch: Stretch) -> bool:
        with suppress(OSError), (self.records / stretch.shard).open("rb") as file:
            file.seek(stretch.start)
            text = file.read(stretch.end - stretch.start)
            return len(text) == stretch.end - stretch.start and zlib.crc32(text) == stretch.crc
        return False

    def held(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The records that the cache holds."""
        for file in list(self.index.files):
            if not file.held:
                self.index.files.remove(file)
                continue
            try:
                table = self._read(file, columns)
            except (OSError, ValueError):  # damaged, or merged by another reader
                self.index.files.remove(file)
                self.changed = True
                continue
            self.damage.places += [place for s in file.held for place in s.places]
            yield table

    def _read(self, file: File, columns: Sequence[str] | None = None) -> pa.Table:
        import pyarrow as pa

        table = read_part(self.root / file.name, columns)
        if max(s.at + s.rows for s in file.held) > len(table):
            raise ValueError("lacks rows")
        if sum(s.rows for s in file.held) == len(table):
            return table
        return pa.concat_tables([table.slice(s.at, s.rows) for s in file.held])

    def rest(self) -> Iterator[Piece]:
        """All other lines, in the order of shards and places, at most some ``BATCH`` bytes at a time."""
        covered: dict[str, list[Stretch]] = {}
        for s in (s for file in self.index.files for s in file.held):
            covered.setdefault(s.shard, []).append(s)
        for name, size in self.sizes.items():
            at, number = 0, 1
            with suppress(FileNotFoundError):
                for s in sorted(covered.get(name, []), key=lambda s: s.start):
                    yield from self._pieces(name, at, s.start, number)
                    at, number = s.end, s.first + s.lines
                yield from self._pieces(name, at, size, number)

    def _pieces(self, name: str, at: int, end: int, number: int) -> Iterator[Piece]:
        while at < end:
            text = retried(partial(_bytes, self.records / name, at, end))
            cut = text.rfind(b"\n") + 1
            yield Piece(name, at, number, text[:cut] or text, cut > 0)
            if not cut:
                return
            at, number = at + cut, number + text.count(b"\n")

    def keep(self, table: pa.Table, stretches: list[Stretch]) -> None:
        """Put records that were read into the cache, where it is worth it and can be written."""
        if self.worth and len(table):
            with suppress(OSError):
                path = write_table(self.root, table)
                self.index.files.append(File(path.name, path.stat().st_size, stretches))
                self.changed = True

    def close(self) -> None:
        """Write what has changed."""
        if self.changed and self.worth:
            with suppress(OSError):
                self._merge()
                self.index.write(self.root)
                self._sweep()

    def _merge(self) -> None:
        """Make one file of many small ones."""
        small = [file for file in self.index.files if file.size < SMALL]
        if len(small) <= MOST:
            return
        import pyarrow as pa

        tables, held, at = [], [], 0
        for file in small:
            try:
                tables.append(self._read(file))
            except (OSError, ValueError):
                continue
            whole = sum(s.rows for s in file.held) == len(tables[-1])
            for s in sorted(file.held, key=lambda s: s.at) if whole else file.held:
                held.append(Stretch(**{**vars(s), "at": at}))
                at += s.rows
        self.index.files = [file for file in self.index.files if file not in small]
        if tables:
            self.keep(pa.concat_tables(tables, promote_options="default"), held)

    def _sweep(self) -> None:
        """Remove files that no index has named for long; what another reader is about to name stays."""
        names = {file.name for file in self.index.files}
        now = (self.root / INDEX).stat().st_mtime
        for path in self.root.glob("*.parquet*"):
            with suppress(OSError):
                if path.name not in names and now - path.stat().st_mtime > ORPHANED:
                    path.unlink()


def _bytes(path: Path, at: int, end: int) -> bytes:
    """At most ``BATCH`` bytes of a file between two places, or else its next line."""
    with path.open("rb") as file:
        file.seek(at)
        text = file.read(min(BATCH, end - at))
        return text if b"\n" in text else text + file.readline()


def line_tables(folder: str | Path, damage: Damage) -> Iterator[pa.Table]:
    """The records of all lines; what was not in the cache is put there."""
    lines = Lines(folder, damage)
    yield from lines.held()
    batch: list[dict[str, Any]] = []
    stretches: list[Stretch] = []
    size = 0
    for piece in lines.rest():
        own, before = Damage(), len(batch)
        for key, status, line in piece.lines(own):
            record = parsed(line)
            if (record.get("key"), record.get("status")) == (key, status):
                batch.append(record)
            else:
                own.places.append(f"the record of run {key} is ambiguous")
        damage.places += own.places
        if piece.whole:
            end, count = piece.start + len(piece.text), piece.text.count(b"\n")
            crc, rows = zlib.crc32(piece.text), len(batch) - before
            stretches.append(Stretch(piece.shard, piece.start, end, piece.first, count, crc, before, rows, own.places))
        size += len(piece.text)
        if size > BATCH:
            yield _made(lines, batch, stretches)
            batch, stretches, size = [], [], 0
    if batch:
        yield _made(lines, batch, stretches)
    lines.close()


def _made(lines: Lines, batch: list[dict[str, Any]], stretches: list[Stretch]) -> pa.Table:
    table = table_of(batch)
    lines.keep(table, stretches)
    return table
