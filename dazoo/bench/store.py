"""Records on disk: append-only JSON lines, one shard per process, no locks.

A record is written by a single ``write`` to a file opened for appending, so a process that is killed loses the run it
was at and nothing else. A line that was cut off is skipped, counted and named when read; its run is simply missing.

Scores of validators computed later (``rescore``) lie in shards of their own, in ``scores/``, and join the records when
these are read: for the same run and validator the last line counts, and counts before what the run recorded.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError

FORMAT = 1
FOLDER = "records"
SCORES = "scores"
HEAD = re.compile(rb'^\{"format":(\d+),"key":"([0-9a-f]+)","status":"(\w+)"')


class Writer:
    """Appends records to a shard of its own, opened with the first record."""

    def __init__(self, folder: str | Path, kind: str = FOLDER):
        self.folder = Path(folder) / kind
        self._handle: int | None = None

    def append(self, key: str, status: str, body: dict[str, Any]) -> None:
        """Write one record; NaN and infinite numbers become null."""
        record = {"format": FORMAT, "key": key, "status": status, **clean(body)}
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if self._handle is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"shard-{time.time_ns():x}-{os.getpid():x}-{secrets.token_hex(3)}.jsonl"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            self._handle = os.open(self.folder / name, flags, 0o644)
        written = os.write(self._handle, line)
        if written != len(line):
            raise DazooError(f"the record could not be written to {self.folder}: is the disk full?")

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def clean(value: Any) -> Any:
    """Plain data with NaN and infinite numbers as None, tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    return value


@dataclass
class Damage:
    """Lines that could not be used, by reason, with where they stand."""

    places: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places)

    def summary(self) -> str:
        """One sentence, empty when nothing is damaged."""
        if not self.places:
            return ""
        shown = "; ".join(self.places[:3]) + ("; ..." if len(self.places) > 3 else "")
        lines = "line was" if len(self.places) == 1 else "lines were"
        return f"{len(self.places)} {lines} skipped: {shown}"


def lines(folder: str | Path, damage: Damage, kind: str = FOLDER) -> Iterator[tuple[str, str, bytes]]:
    """``(key, status, line)`` of every usable line of every shard, in the order of shard names."""
    root = Path(folder) / kind
    for path in sorted(root.glob("*.jsonl")):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                head = HEAD.match(line)
                place = f"{kind}/{path.name}, line {number}"
                if head is None or not line.endswith(b"}\n"):
                    if line.strip():
                        damage.places.append(f"{place} is cut off or no record")
                elif int(head[1]) != FORMAT:
                    damage.places.append(f"{place} has format {int(head[1])}, this version reads {FORMAT}")
                else:
                    yield head[2].decode(), head[3].decode(), line


def stored(folder: str | Path) -> tuple[dict[str, str], Damage]:
    """The status of every stored run by key, without parsing the records; ``ok`` wins over ``failed``."""
    damage = Damage()
    found: dict[str, str] = {}
    for key, status, _ in lines(folder, damage):
        if found.get(key) != "ok":
            found[key] = status
    return found, damage


def records(folder: str | Path, damage: Damage | None = None) -> Iterator[dict[str, Any]]:
    """Every usable record, one at a time, with the scores that were computed later."""
    damage = damage if damage is not None else Damage()
    later = later_scores(folder, damage)
    for key, _, line in lines(folder, damage):
        try:
            record = json.loads(line)
        except ValueError:
            damage.places.append(f"the record of run {key} is no valid JSON")
            continue
        if key in later and record["status"] == "ok":
            _join(record, later[key])
        yield record


def later_scores(folder: str | Path, damage: Damage) -> dict[str, dict[str, list[float | None]]]:
    """Scores per checkpoint, by run and validator, that were computed after the runs."""
    found: dict[str, dict[str, list[float | None]]] = {}
    for key, _, line in lines(folder, damage, SCORES):
        try:
            found.setdefault(key, {}).update(json.loads(line)["scores"])
        except (ValueError, KeyError, TypeError):
            damage.places.append(f"the later scores of run {key} are no valid JSON")
    return found


def _join(record: dict[str, Any], later: dict[str, list[float | None]]) -> None:
    points = record.get("checkpoints") or []
    for name, values in later.items():
        if len(values) == len(points):
            for point, value in zip(points, values):
                point["scores"][name] = value


class Follower:
    """Keys of records as they are written, by reading only what was appended since the last look."""

    def __init__(self, folder: str | Path):
        self.root = Path(folder) / FOLDER
        self._at: dict[Path, int] = {p: p.stat().st_size for p in self.root.glob("*.jsonl")}

    def new_keys(self) -> list[str]:
        """Keys of the whole lines that are new."""
        found = []
        for path in sorted(self.root.glob("*.jsonl")):
            start = self._at.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                text = file.read()
            whole = text.rfind(b"\n") + 1
            self._at[path] = start + whole
            heads = [HEAD.match(line) for line in text[:whole].split(b"\n")]
            found += [head[2].decode() for head in heads if head is not None]
        return found
