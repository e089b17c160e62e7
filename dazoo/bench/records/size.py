"""Sizes on disk as people write them."""

from __future__ import annotations

import re

from dazoo.core.errors import DazooError

BUDGET = "200MB"
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def size_of(text: str | int) -> int:
    """Bytes of ``200MB``, ``1.5GB`` or ``0``; units are powers of 1000.

    Raises:
        DazooError: no such size.
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?B?)\s*", str(text), re.IGNORECASE)
    unit = found[2].upper() if found else ""
    unit += "B" if unit and not unit.endswith("B") else ""
    if found is None or unit not in UNITS:
        raise DazooError(f"{text!r} is no size; write it as 200MB or 2GB, or 0 to keep nothing")
    return int(float(found[1]) * UNITS[unit])


def size_text(size: int) -> str:
    """Bytes as ``200 MB``."""
    unit = next(u for u in ("GB", "MB", "KB", "B") if size >= UNITS[u] or u == "B")
    return f"{size / UNITS[unit]:g} {unit}"
