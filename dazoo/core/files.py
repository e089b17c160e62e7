"""Files that are whole or not there: written beside their place, flushed to disk, then moved.

New files get the permissions that the user's ``umask`` leaves (``umask 002`` shares caches, models and results with a
group), not those of a private temporary file.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")
SUFFIX = ".tmp"
PASSING = frozenset(getattr(errno, name) for name in ("ESTALE", "ETIMEDOUT", "EREMOTEIO") if hasattr(errno, name))
"""Errors of network file systems that opening a file anew may mend: it was replaced on the server, or that was away."""
PAUSE = 0.2


def retried(call: Callable[[], T]) -> T:
    """What ``call`` returns, tried once more after an error of a network file system (``PASSING``)."""
    try:
        return call()
    except OSError as error:
        if error.errno not in PASSING:
            raise
    time.sleep(PAUSE)
    return call()


def beside(path: Path) -> Path:
    """A new empty file in the folder of ``path`` (made where it is missing), with the permissions of the ``umask``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f"{path.name[:100]}.{os.getpid():x}-{secrets.token_hex(4)}{SUFFIX}"
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return name


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file to write to; it takes the place of ``path`` at the end, or is removed where writing failed.

    Raises:
        OSError: the folder cannot be written, or the disk is full; it names ``path``, which is as it was.
    """
    path = Path(path)
    temporary = path
    try:
        temporary = beside(path)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        os.chmod(temporary, mode)  # some libraries put a private file of their own there
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary != path:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (error.filename is None or str(error.filename).endswith(SUFFIX)):
            # nobody knows the temporary file
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    sync_folder(path.parent)


@contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """``replacing`` as an open binary file."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def write_text(path: str | Path, text: str) -> None:
    """Put a whole text file in place, in UTF-8; what has no code there (half of a pair of surrogates) becomes ``?``."""
    with opened(path) as file:
        file.write(text.encode("utf-8", "replace"))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system allows it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
