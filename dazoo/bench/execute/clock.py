"""Seconds of a run: of the clock on the wall, of this process on processors, and of a CUDA device.

Wall time depends on what else the machine does; the other two hardly do. The load at the start of a run is kept beside
them, so that a reader can tell how far its wall time may be trusted.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Spent:
    """Seconds: ``wall``, ``cpu`` (all threads of this process, waiting not counted) and ``device`` (None without CUDA).

    ``device`` is the time between two events on the device's stream, both waited for.
    """

    wall: float = 0.0
    cpu: float = 0.0
    device: float | None = None

    def __add__(self, other: Spent) -> Spent:
        both = [d for d in (self.device, other.device) if d is not None]
        return Spent(self.wall + other.wall, self.cpu + other.cpu, sum(both) if both else None)

    def __sub__(self, other: Spent) -> Spent:
        device = None if self.device is None else self.device - (other.device or 0.0)
        return Spent(self.wall - other.wall, self.cpu - other.cpu, device)

    def share(self, n: int) -> Spent:
        """What one of ``n`` runs that trained together is charged."""
        return Spent(self.wall / n, self.cpu / n, None if self.device is None else self.device / n)

    def to_json(self) -> dict[str, Any]:
        """The fields of a record."""
        return {"seconds": self.wall, "cpu_seconds": self.cpu, "device_seconds": self.device}


class Stopwatch:
    """Starts when it is made; ``spent`` tells what has passed since."""

    def __init__(self, device: str = "cpu"):
        self._cuda = device.startswith("cuda")
        self._event = self._mark() if self._cuda else None
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> Spent:
        """Seconds until now; work that the device still has to do is waited for."""
        device = self._event.elapsed_time(self._mark()) / 1000 if self._event is not None else None
        return Spent(time.perf_counter() - self._wall, time.process_time() - self._cpu, device)

    @staticmethod
    def _mark() -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        event.synchronize()
        return event


def load(jobs: int) -> dict[str, Any]:
    """How busy the machine is: runnable processes on average over one minute, None where the system does not tell."""
    average = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"average": average, "jobs": jobs, "cpus": os.cpu_count()}
