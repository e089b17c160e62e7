"""What computes a run: the machine and its versions, and how much memory a run took."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from dazoo.core.version import VERSION


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Pay for what torch loads with its first optimiser now, so that no run's time contains it."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def reset_peak(device: str) -> None:
    """Start measuring peak memory anew, where the system allows it."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # elsewhere the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> float | None:
    """Peak memory in MB since ``reset_peak``: of the device, or resident memory of this process."""
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if platform.system() == "Darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6, 1)


@lru_cache(maxsize=4)
def machine(device: str) -> dict[str, Any]:
    """Device, machine and versions of what computed a run."""
    from importlib.metadata import PackageNotFoundError, version

    # not what pip knows of dazoo: of an editable install that is the version on the day it was installed
    versions = {"python": platform.python_version(), "dazoo": VERSION}
    for package in ("torch", "numpy", "scipy", "scikit-learn", "POT", "timm"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    # of a run that was not computed here the device may be none of this machine
    here = device.startswith("cuda") and torch.cuda.is_available()
    card = torch.cuda.get_device_name(device) if here else device.partition(":")[0]
    return {
        "device": card,
        "machine": {"system": platform.platform(), "processor": processor(), "cpus": os.cpu_count()},
        "versions": versions,
    }


def processor() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
