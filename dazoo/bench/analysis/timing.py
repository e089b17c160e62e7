"""The column of seconds: CPU or device seconds where records hold them, else wall time, and a note that says which."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dazoo.bench.analysis.table import Row

WALL = "Seconds are wall time, which other work on the machine changes by several times; no CPU seconds were recorded."


@dataclass(frozen=True)
class Time:
    """``head`` of the column, and a ``note`` on what it holds, empty where there are no seconds at all."""

    head: str
    note: str
    mixed: bool = False

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Time:
        """What the rows of a leaderboard allow."""
        timed = [r for r in rows if not math.isnan(r.seconds)]
        kinds = {_kind(r) for r in timed}
        if not kinds:
            return cls("s per run", "")
        if kinds == {"wall"}:
            return cls("wall s per run", WALL)
        main = " or ".join(k for k in ("CPU", "device") if k in kinds)
        note = f"Seconds are {main} seconds of the fit, without looks at checkpoints"
        mixed = len(kinds) > 1
        note += "; those marked otherwise are what they are marked as" if mixed else ""
        return cls(f"{main} s per run", note + ".", mixed)

    def value(self, row: Row) -> float:
        """The seconds that are shown."""
        return row.seconds if math.isnan(row.cost) else row.cost

    def show(self, row: Row, digits: int = 2) -> str:
        """The seconds for reading, with their kind where rows differ in it; empty where there are none."""
        value = self.value(row)
        if math.isnan(value):
            return ""
        return f"{value:.{digits}f}" + (f" {_kind(row)}" if self.mixed else "")


def _kind(row: Row) -> str:
    if not math.isnan(row.device_seconds):
        return "device"
    return "wall" if math.isnan(row.cpu_seconds) else "CPU"
