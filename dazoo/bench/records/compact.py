"""``dazoo compact``: the lines of a result folder become few small parts (``parts``), and read the same.

A shard is merged as a whole, and only where every line of it is a good record and no living process has claims under
the number in its name. First the part is on disk, then its shards are removed, so that whoever reads meanwhile finds
each run in one of the two, or in both (one run: the same record). A process that still appends to a shard that was
removed finds out (``store.Writer``) and writes the line again; what it wrote before that is found here at the end of
the file. Small parts of earlier calls are merged, too.

Curves are thinned to what is drawn (``thin``); everything else comes back as it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from dazoo.bench.records.claims import writing
from dazoo.bench.records.columns import Record
from dazoo.bench.records.parts import LIMIT, part_paths, read_part, write_parts
from dazoo.bench.records.store import FOLDER, Damage, Follower, good_records
from dazoo.bench.records.table import records_of
from dazoo.bench.records.thin import thinned
from dazoo.core.errors import DazooError

BATCH, FILES = 32_000_000, 200
"""Bytes and files that are merged at a time."""
SMALL = LIMIT // 4
NAME = re.compile(r"(?:shard|part)-([0-9a-f]+)-([0-9a-f]+)")


@dataclass
class Compacted:
    """What was done: runs merged, files and bytes before and after, and the shards that were left, with the reason."""

    runs: int = 0
    files: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)
    left: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Input:
    path: Path
    records: list[Record]
    size: int
    file: IO[bytes] | None = None


def compact(folder: str | Path) -> Compacted:
    """Merge the shards of a result folder into parts.

    Raises:
        DazooError: there are no records.
        OSError: the folder cannot be written; nothing is lost.
    """
    root = Path(folder) / FOLDER
    if not root.is_dir():
        raise DazooError(f"{folder} holds no records; 'dazoo run SUITE --out {folder}' makes them")
    out = Compacted()
    before = _state(root)
    paths = sorted(_candidates(Path(folder), root, out), key=lambda p: (_time(p), p.name))
    known = _known(root, {p.name for p in paths})
    while paths:
        with ExitStack() as stack:
            batch: list[_Input] = []
            while paths and len(batch) < FILES and sum(b.size for b in batch) < BATCH:
                batch += _opened(paths.pop(0), stack, out)
            _merge(root, batch, known, out)
    after = _state(root)
    out.files, out.bytes = (before[0], after[0]), (before[1], after[1])
    return out


def _state(root: Path) -> tuple[int, int]:
    sizes = Follower(root.parent).at
    return len(sizes), sum(sizes.values())


def _time(path: Path) -> str:
    found = NAME.match(path.name)
    return found[1] if found else "0"


def _candidates(folder: Path, root: Path, out: Compacted) -> Iterator[Path]:
    shards = sorted(root.glob("*.jsonl"))
    busy = writing(folder)  # after the shards: whoever began since then has a shard that is not among them
    found = []
    for path in shards:
        pid = NAME.match(path.name)
        if pid is not None and int(pid[2], 16) in busy:
            out.left.append((path.name, "a running process writes to it"))
        else:
            found.append(path)
    small = [p for p in part_paths(root) if p.stat().st_size < SMALL]
    yield from found
    if len(small) > (0 if found else 1):
        yield from small


def _opened(path: Path, stack: ExitStack, out: Compacted) -> list[_Input]:
    """The file with its records; nothing where it has to stay as it is."""
    try:
        if path.suffix == ".parquet":
            return [_Input(path, list(records_of(read_part(path))), path.stat().st_size)]
        file = stack.enter_context(path.open("rb"))
    except FileNotFoundError:  # another process compacts, too
        return []
    except ValueError as error:
        out.left.append((path.name, str(error)))
        return []
    damage = Damage()
    found = list(good_records(file, f"{FOLDER}/{path.name}", damage))
    if len(damage):
        out.left.append((path.name, damage.summary()))
        return []
    return [_Input(path, found, file.tell(), file)]


def _merge(root: Path, batch: list[_Input], known: set[str], out: Compacted) -> None:
    records: list[Record] = []
    for record in (r for b in batch for r in b.records):
        mark = f"{record['key']} {record['started']}"
        if mark not in known:  # it is in a part already where an earlier call was killed before it removed the shard
            known.add(mark)
            records.append(thinned(record))
    if records:
        made = {p.name for p in write_parts(root, min(_time(b.path) for b in batch), records)}
        out.runs += sum(len(b.records) for b in batch if b.file is not None)
    else:
        made = set()
    for b in batch:
        if b.path.name in made:
            continue
        try:
            b.path.unlink(missing_ok=True)
        except PermissionError:  # open elsewhere, where open files cannot be removed; its lines are there twice
            continue
        if b.file is not None:
            _rescue(root, b)


def _known(root: Path, without: set[str]) -> set[str]:
    """Key and start of the records in parts that stay, read once, however many batches there are."""
    found: set[str] = set()
    for path in part_paths(root):
        if path.name not in without:
            with suppress(OSError, ValueError):
                table = read_part(path, ["key", "field:started"])
                columns = (table[name].to_pylist() for name in ("key", "field:started"))
                found |= {f"{key} {started}" for key, started in zip(*columns)}
    return found


def _rescue(root: Path, shard: _Input) -> None:
    """Keep what was appended to a shard between reading and removing it."""
    assert shard.file is not None
    if os.fstat(shard.file.fileno()).st_size > shard.size:
        shard.file.seek(shard.size)
        rest = shard.file.read()
        with (root / f"{shard.path.stem}-rest.jsonl").open("ab") as file:
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())


def told(folder: str | Path, made: Compacted) -> list[str]:
    """What was done, in sentences."""
    sizes = " to ".join(f"{size / 1e6:.2f} MB" for size in made.bytes)
    files = "{} to {} files".format(*made.files)
    said = [f"{folder}: {made.runs} runs merged, {files}, {sizes}" if made.runs else f"{folder}: nothing to merge"]
    return said + [f"{folder}: left as it is: {name} ({why.rstrip('.')})" for name, why in made.left]
