"""Memory of big tensors on a CPU: kept between the steps of a training run instead of being mapped anew by every one.

glibc returns large blocks to the system as soon as they are free, so a network on photographs pays for fresh, zeroed
pages at every activation of every step: about a fifth of its time. Other C libraries are left as they are.

Outside of training the thresholds are the largest that glibc would choose by itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

# parameters of mallopt(3)
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
LARGEST = 32 << 20


@contextmanager
def kept_heap(wanted: bool = True) -> Iterator[None]:
    """Freed blocks stay with the process inside the block; afterwards all free pages go back to the system."""
    libc = _glibc() if wanted else None
    if libc is None:
        yield
        return
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, 65536)
        libc.mallopt(MMAP_THRESHOLD, LARGEST)
        libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
        release_heap()


def release_heap() -> None:
    """Hand free pages back to the system."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> Any:
    """The C library where it is glibc, else None."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018
        return libc
    except (OSError, AttributeError, TypeError):
        return None
