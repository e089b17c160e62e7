"""The state of an unfinished training run as a file that ends with its checksum: what torch writes has none, and a run
that went on from a wrong byte would end in a wrong number."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import torch

from dazoo.core.files import replacing

MARK = b"\ncrc32:"
BLOCK = 1 << 20


def write_state(path: Path, state: dict[str, Any]) -> str:
    """Put a state in place, flushed to disk; why that failed, else nothing. A run goes on without."""
    try:
        with replacing(path) as temporary:
            torch.save(state, temporary)
            with temporary.open("rb+") as file:
                checksum = 0
                while block := file.read(BLOCK):
                    checksum = zlib.crc32(block, checksum)
                file.write(MARK + b"%08x" % checksum)
    except (OSError, RuntimeError) as error:  # torch raises the latter on a full disk
        why = (error.strerror if isinstance(error, OSError) else None) or (str(error).splitlines() or [""])[0][:200]
        return f"the state of the unfinished run could not be saved ({why}); stopped, it would begin anew"
    return ""


def read_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What ``write_state`` wrote; a damaged file is removed, and as good as none."""
    try:
        data = path.read_bytes()
        body, found, checksum = data.rpartition(MARK)
        if not found or b"%08x" % zlib.crc32(body) != checksum:
            raise ValueError("the checksum does not match")
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location=device, weights_only=True)
        return state
    except Exception:  # torch raises many kinds
        path.unlink(missing_ok=True)
        return None
