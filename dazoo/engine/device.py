"""Where a fit is computed: the one check of a device's name, for the API, the commands and the harness."""

from __future__ import annotations

import re

import torch

from dazoo.core.errors import DazooError


def require_device(name: str) -> str:
    """``name`` as a device that is there: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes CUDA where it is there.

    Raises:
        DazooError: a device that this machine has not, or that cannot be computed on.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if not isinstance(name, str) or not re.fullmatch(r"cuda(:\d+)?", name):
        why = "its arithmetic has no double precision" if name == "mps" else "known: auto, cpu, cuda, cuda:N"
        raise DazooError(f"device {name!r} is not one to compute on ({why}); use 'cpu' or 'auto'")
    if not torch.cuda.is_available():
        raise DazooError(f"there is no device {name!r}: no CUDA device is available here; use 'cpu' or 'auto'")
    count, index = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
    if index >= count:
        raise DazooError(f"there is no device {name!r}: this machine has cuda:0 to cuda:{count - 1}")
    return name
