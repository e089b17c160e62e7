"""Records on disk: append-only JSON lines, one shard per process, no locks.

A record is written by a single ``write`` to a file opened for appending, so a process that is killed loses the run it
was at and nothing else. A line ends with the checksum of what stands before it (``"crc"``, CRC-32 in hexadecimal), so
that a line that is whole is known without parsing it, and one with a wrong byte anywhere is not taken for a result.
Lines without a checksum (of version 0.1.0, or written by hand) are parsed and must have the shape of a record
(``shape``). What cannot be used is skipped, counted and named when read; its run is simply missing, and is run again.

Lines are flushed to disk at the latest ``SYNC`` seconds after the first that is not, and when the writer is closed.

Scores of validators computed later (``rescore``) lie in shards of their own, in ``scores/``, and join the records when
these are read: for the same run and validator the last line counts, and counts before what the run recorded.

``compact`` merges lines into parts (``parts``), which every reader here reads, too: shards first, then parts, since a
part is there before its shards go.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
import time
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dazoo.bench.records.cache import Lines, line_tables
from dazoo.bench.records.lines import FORMAT, HEAD, RECORDS, clean, lines_of, parsed, whole
from dazoo.bench.records.lines import SCORES as SCORES
from dazoo.bench.records.lines import Damage as Damage
from dazoo.bench.records.lines import good_records as good_records
from dazoo.bench.records.parts import all_parts, read_part
from dazoo.bench.records.table import Table, records_of
from dazoo.core.errors import DazooError
from dazoo.core.files import PASSING, retried, sync_folder

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = RECORDS
KEYS = ["key", "status"]
SECONDS = re.compile(rb'"cpu_seconds":([0-9.]+(?:e[+-]?\d+)?)[,}]')
SYNC = 0.1
SHARD = 800_000
"""Bytes from which on a shard is full and the next record opens another one: small files merge and travel well."""


class NotStored(DazooError):
    """A record that could not be written; nothing that follows could be written either."""


class Writer:
    """Appends records to a shard of its own, opened with the first record."""

    def __init__(self, folder: str | Path, kind: str = FOLDER):
        self.folder = Path(folder) / kind
        self.opened: Path | None = None
        self._handle: int | None = None
        self._synced = 0.0

    def append(self, key: str, status: str, body: dict[str, Any], again: bool = True) -> None:
        """Write one record; NaN and infinite numbers become null.

        Args:
            again: write to another shard where this one was removed meanwhile.

        Raises:
            NotStored: it cannot be written, or flushed; nothing of it stays in the shard.
        """
        record = {"format": FORMAT, "key": key, "status": status, **clean(body)}
        record.pop("crc", None)
        text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()[:-1]
        line = text + b',"crc":"%08x"}\n' % zlib.crc32(text)
        try:
            handle = self._open()
            start = os.fstat(handle).st_size
            written = os.write(handle, line)
            if written != len(line):
                with suppress(OSError):  # a cut line would also spoil the next one
                    os.ftruncate(handle, start)
                self.close()
                raise NotStored(_unwritten(self.folder, "No space left on device"))
            if again and os.fstat(handle).st_nlink == 0:  # removed by ``compact``, perhaps before this line was there
                self.close()
                return self.append(key, status, body, again=False)
            if time.monotonic() - self._synced > SYNC:
                self.flush()
            if start + len(line) > SHARD:
                self.close()
        except OSError as error:
            self.close()
            if again and error.errno in PASSING:  # another shard; were the line in both, readers take one
                return self.append(key, status, body, again=False)
            raise NotStored(_unwritten(self.folder, error.strerror or str(error))) from error

    def _open(self) -> int:
        if self._handle is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"shard-{time.time_ns():x}-{os.getpid():x}-{secrets.token_hex(3)}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self.opened = self.folder / name
            self._handle = os.open(self.opened, flags, 0o666)
            sync_folder(self.folder)
        return self._handle

    def flush(self) -> None:
        """What is done at times while records are appended."""
        self.sync()

    def sync(self) -> None:
        """Flush to disk what was appended; whoever looks finds it now.

        Raises:
            NotStored: what was appended last may be lost.
        """
        if self._handle is not None:
            try:
                os.fsync(self._handle)
            except OSError as error:
                self.close()
                raise NotStored(_unwritten(self.folder, error.strerror or str(error))) from error
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._handle is not None:
            handle, self._handle = self._handle, None
            self.opened = None
            try:
                with suppress(OSError):
                    os.fsync(handle)
            finally:
                os.close(handle)


def _unwritten(folder: Path, why: str) -> str:
    return f"a record could not be written to {folder}: {why}; what is stored stays, make room and run it again"


def lines(folder: str | Path, damage: Damage, kind: str = FOLDER) -> Iterator[tuple[str, str, bytes]]:
    """``(key, status, line)`` of every usable line of every shard, in the order of shard names."""
    root = Path(folder) / kind
    for path in sorted(root.glob("*.jsonl")):
        if path.is_dir():
            damage.places.append(f"{kind}/{path.name} is a folder and no shard")
            continue
        with suppress(FileNotFoundError):  # merged into a part since the folder was listed
            yield from lines_of(io.BytesIO(retried(path.read_bytes)), f"{kind}/{path.name}", damage)


def stored(folder: str | Path) -> tuple[dict[str, str], Damage]:
    """The status of every run by key whose record can be read; ``ok`` wins over ``failed``.

    Lines that no reader of records has put into the cache are read, those without a checksum parsed.
    """
    damage = Damage()
    found: dict[str, str] = {}
    known = Lines(folder, damage)
    for key, status in _heads(known, Path(folder) / FOLDER, damage):
        if found.get(key) != "ok":
            found[key] = status
    return found, damage


def _heads(known: Lines, root: Path, damage: Damage) -> Iterator[tuple[str, str]]:
    for table in known.held(KEYS):
        yield from zip(table["key"].to_pylist(), table["status"].to_pylist())
    yield from ((key, status) for piece in known.rest() for key, status, _ in piece.lines(damage))
    for table in all_parts(root, damage.of_part, KEYS):
        yield from zip(table["key"].to_pylist(), table["status"].to_pylist())


def records(
    folder: str | Path, damage: Damage | None = None, only: Container[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Every usable record, one at a time, with the scores that were computed later; read them, do not change them.

    Args:
        only: keys of the runs that are wanted; by default all.
    """
    damage = damage if damage is not None else Damage()
    later = later_scores(folder, damage)
    seen: set[tuple[str, Any]] = set()
    for record in _plain_records(folder, damage, only, seen):
        key = record["key"]
        if key in later and record["status"] == "ok":
            join_scores(record, later[key])
        yield record


def _plain_records(
    folder: str | Path, damage: Damage, only: Container[str] | None, seen: set[tuple[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Records of lines, then those of parts that are in no line."""
    known = Lines(folder, damage)
    for table in known.held():
        for record in records_of(_chosen(table, only)):
            seen.add((record["key"], str(record.get("started"))))
            yield record
    for key, line in ((k, line) for piece in known.rest() for k, _, line in piece.lines(damage)):
        if only is None or key in only:
            record = parsed(line)
            seen.add((key, str(record.get("started"))))
            yield record
    for table in all_parts(Path(folder) / FOLDER, damage.of_part):
        for record in records_of(_chosen(table, only)):
            mark = (record["key"], str(record.get("started")))
            if mark not in seen:
                seen.add(mark)
                yield record


def _chosen(table: pa.Table, only: Container[str] | None) -> pa.Table:
    return table if only is None else table.filter([k in only for k in table["key"].to_pylist()])


def tables(folder: str | Path, damage: Damage) -> Iterator[Table]:
    """Every record of every line, then of every part, as tables; the same record may come from both.

    Later scores (``later_scores``) are not in them, and what is no record (``sound``) may be.
    """
    yield from map(Table, line_tables(folder, damage))
    yield from map(Table, all_parts(Path(folder) / FOLDER, damage.of_part))


def later_scores(folder: str | Path, damage: Damage) -> dict[str, dict[str, list[float | None]]]:
    """Scores per checkpoint, by run and validator, that were computed after the runs."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for key, _, line in lines(folder, damage, SCORES):
        try:
            scores = json.loads(line)["scores"]
            if not all(_numbers(values) for values in scores.values()):
                raise TypeError("scores that are no numbers")
            found.setdefault(key, {}).update(scores)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            damage.places.append(f"the later scores of run {key} are no valid JSON")
    return found


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        v is None or (isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < math.inf) for v in values
    )


def join_scores(record: dict[str, Any], later: Mapping[str, list[float | None]]) -> None:
    """Add scores computed later to the checkpoints of a record."""
    points = record.get("checkpoints") or []
    for name, values in later.items():
        if len(values) == len(points):
            for point, value in zip(points, values):
                point["scores"][name] = value


class Follower:
    """Keys of records as they are written, by reading only what was appended since the last look.

    Args:
        at: sizes of the shards and parts at an earlier look (``Follower.at``), by name; those of now by default.

    Attributes:
        opened: how many shards the last look had to open.
    """

    def __init__(self, folder: str | Path, at: dict[str, int] | None = None):
        self.root = Path(folder) / FOLDER
        self.at = dict(at) if at is not None else dict(_sizes(self.root))
        self._done: set[str] = set()
        self.opened = 0

    def new_keys(self) -> list[str]:
        """Keys of the whole lines that are new."""
        return [key for key, _ in self.new_runs()]

    def new_runs(self) -> list[tuple[str, float | None]]:
        """Keys of the whole lines that are new, and the CPU seconds of the runs where they are told.

        Shards that are full were read to their end, and parts, are not looked at again: a look costs a listing and the
        shards that still grow, however many there are.
        """
        found: list[tuple[str, float | None]] = []
        with suppress(OSError):  # on a network file system: ask the server which shards there are
            os.utime(self.root)
        new = sorted(name for name in _names(self.root) if name not in self._done)
        shards = [name for name in new if name.endswith(".jsonl")]
        self.opened = len(shards)
        for name in shards:
            start = self.at.get(name, 0)
            # a shard that is gone was merged into a part
            with suppress(FileNotFoundError, IsADirectoryError):
                if text := retried(partial(_from, self.root / name, start)):
                    end = text.rfind(b"\n") + 1
                    self.at[name] = start + end
                    lines = [line for line in text[:end].splitlines(True) if whole(line) is not False]
                    found += [(head[2].decode(), _seconds(line)) for line in lines if (head := HEAD.match(line))]
                if self.at.get(name, 0) > SHARD:
                    self._done.add(name)
        for name in (n for n in new if n.endswith(".parquet")):  # lines that were merged before they were seen
            if name not in self.at:
                with suppress(OSError, ValueError):
                    self.at[name] = (self.root / name).stat().st_size
                    keys = read_part(self.root / name, ["key"])["key"].to_pylist()
                    found += [(key, None) for key in keys]
            self._done.add(name)
        return found


def _seconds(line: bytes) -> float | None:
    found = SECONDS.search(line)
    return float(found[1]) if found else None


def _from(path: Path, start: int) -> bytes:
    """What a shard holds behind ``start``."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= start:  # opening asked the server how long the file is
            return b""
        file.seek(start)
        return file.read()


def _names(root: Path) -> list[str]:
    """Names of the shards and parts in a folder."""
    try:
        return [name for name in retried(lambda: os.listdir(root)) if _counts(name)]
    except OSError:
        return []


def _counts(name: str) -> bool:
    return name.endswith(".jsonl") or (name.startswith("part-") and name.endswith(".parquet"))


def _sizes(root: Path) -> Iterator[tuple[str, int]]:
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if _counts(entry.name):
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat().st_size
