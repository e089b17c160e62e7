"""Where kept outputs (``keep``) lie. Apart from what reads them, so that a report needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FOLDER = "kept"


def path_of(folder: str | Path, key: str) -> Path:
    """Where the outputs of a run are kept."""
    return Path(folder) / FOLDER / f"{key}.npz"


def used(folder: str | Path) -> int:
    """Bytes of all finished files that are kept in a result folder."""
    return sum(size for _, size in _files(folder))


def kept_keys(folder: str | Path) -> set[str]:
    """Keys of the runs whose outputs are kept."""
    return {name.removesuffix(".npz") for name, _ in _files(folder)}


def _files(folder: str | Path) -> Iterator[tuple[str, int]]:
    with suppress(FileNotFoundError), os.scandir(Path(folder) / FOLDER) as entries:
        for entry in entries:
            if entry.name.endswith(".npz"):
                with suppress(FileNotFoundError):
                    yield entry.name, entry.stat().st_size
