"""Lines of records: how they begin and end, which are usable, and what is wrong with the others."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dazoo.bench.records.shape import fault, fault_of_line

FORMAT = 1
RECORDS, SCORES = "records", "scores"
"""Folders of lines in a result folder."""
HEAD = re.compile(rb'^\{"format":(\d{1,9}),"key":"([0-9a-f]+)","status":"(\w+)"')
TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\n$')
TAIL_BYTES = 19


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
    """Lines and parts that could not be used, by reason, with where they stand."""

    places: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.places) + len(self.parts)

    def of_part(self, name: str, why: str) -> None:
        """Note a part that cannot be used."""
        told = f"the part {RECORDS}/{name} {why}; its runs count as missing and are run again"
        if told not in self.parts:
            self.parts.append(told)

    def summary(self) -> str:
        """One sentence, empty when nothing is damaged."""
        if self.parts:
            more = f"; so it is with {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
            lines = Damage(self.places).summary()
            return self.parts[0] + more + (f"; {lines}" if lines else "")
        if not self.places:
            return ""
        shown = "; ".join(self.places[:3]) + ("; ..." if len(self.places) > 3 else "")
        lines = "line was" if len(self.places) == 1 else "lines were"
        return f"{len(self.places)} {lines} skipped: {shown}"


def lines_of(file: Iterable[bytes], name: str, damage: Damage, first: int = 1) -> Iterator[tuple[str, str, bytes]]:
    """``(key, status, line)`` of every usable line of a shard.

    Args:
        name: its path within the result folder. first: the number of the first line.
    """
    for number, line in enumerate(file, first):
        head = HEAD.match(line)
        place = f"{name}, line {number}"
        if head is None or not line.endswith(b"}\n"):
            if line.strip():
                damage.places.append(f"{place} is cut off or no record")
        elif int(head[1]) != FORMAT:
            damage.places.append(f"{place} has format {int(head[1])}, this version reads {FORMAT}")
        elif whole(line) is False:
            about = "record" if name.startswith(RECORDS) else "later scores"
            damage.places.append(f"the {about} of run {head[2].decode()} differs from its checksum ({place})")
        else:
            yield head[2].decode(), head[3].decode(), line


def whole(line: bytes) -> bool | None:
    """Whether a line is as it was written, by its checksum; None where it has none."""
    tail = TAIL.search(line, max(0, len(line) - TAIL_BYTES))
    return None if tail is None else zlib.crc32(memoryview(line)[: tail.start()]) == int(tail[1], 16)


def usable(key: str, line: bytes, damage: Damage) -> bool:
    """Whether a line with a good head is a record: by its checksum, else by its shape."""
    problem = "" if whole(line) else fault_of_line(line)
    if problem:
        damage.places.append(f"the record of run {key} {problem}")
    return not problem


def parsed(line: bytes) -> dict[str, Any]:
    """The record of a usable line."""
    record: dict[str, Any] = json.loads(line) if whole(line) else clean(json.loads(line))
    record.pop("crc", None)
    return record


def good_records(file: Iterable[bytes], name: str, damage: Damage) -> Iterator[dict[str, Any]]:
    """The records of one shard; what cannot be merged is damage: bad lines, and lines without the shape of a record."""
    for key, status, line in lines_of(file, name, damage):
        if usable(key, line, damage):
            record = parsed(line)
            problem = fault(record) if (record.get("key"), record.get("status")) == (key, status) else "is ambiguous"
            if problem:
                damage.places.append(f"the record of run {key} {problem}")
            else:
                yield record
