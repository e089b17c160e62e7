"""Photographs, decoded once into a memory-mapped uint8 array that all processes share.

A cache entry is named by what it was made from (paths, sizes and modification times of the files, the target size and
how images are fitted), so a changed file makes a new entry. Entries are written beside their final place and moved
there, so any number of processes may build the same one at once. A sidecar holds length and checksum; an entry that
does not match it is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.files import opened, write_text
from dazoo.data.registry import cache_root

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
FITS = ("crop", "squash")
FORMAT = 1
MOST_PIXELS = 89_000_000
"""Of one image; more is refused before memory is taken for it."""
_QUIET_SECONDS = 2.0
_BLOCK = 128
_verified: set[tuple[str, int, int]] = set()


def image_files(folder: Path, classes: Sequence[str], dataset: str) -> list[Path]:
    """The images in ``folder/<class>/`` for every class, sorted by class index and then by name.

    Raises:
        DazooError: the folder or a class is missing, or there is no image at all.
    """
    if not folder.is_dir():
        raise DazooError(
            f"{dataset} needs the folder {folder}; put the images there or name the data root by DAZOO_DATA"
        )
    found: list[Path] = []
    for name in classes:
        inside = folder / name
        if not inside.is_dir():
            raise DazooError(f"{dataset}: the class folder {inside} is missing; copy the data set again")
        found += sorted(f for f in inside.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    if not found:
        raise DazooError(f"{folder} holds no image ({', '.join(SUFFIXES)}); put images into its class folders")
    return found


def check_view(image_size: int, fit: str) -> None:
    """Refuse a size that is none, and another fit than ``crop`` and ``squash``."""
    if fit not in FITS:
        raise DazooError(f"fit must be 'crop' or 'squash', not {fit!r}")
    if isinstance(image_size, bool) or not isinstance(image_size, int) or not 1 <= image_size <= 4096:
        raise DazooError(f"image_size must be a whole number of pixels between 1 and 4096, not {image_size!r}")


def decode(files: Sequence[Path], size: int, fit: str = "crop", cache: Path | None = None) -> Tensor:
    """Images as one uint8 tensor (n, size, size, 3), RGB, mapped from the cache.

    Args:
        files: image files, in the order of the rows.
        size: side of the result in pixels.
        fit: ``crop`` keeps proportions: the shorter side becomes ``size``, the centre is kept. ``squash`` keeps the
            whole image and changes its proportions.
        cache: folder of the entries; default ``cache_root() / "images"``.

    Raises:
        DazooError: an image cannot be read, or the cache cannot be written.
    """
    check_view(size, fit)
    if not files:
        raise DazooError("there are no images to decode; check the folder")
    folder = cache_root() / "images" if cache is None else cache
    entry = folder / f"{_key(files, size, fit)}.u8"
    shape = (len(files), size, size, 3)
    if not _intact(entry, shape):
        _build(entry, files, size, fit)
    # copy-on-write: torch wants writable memory, and nothing a caller does may reach the file
    return torch.from_numpy(np.memmap(entry, dtype=np.uint8, mode="c", shape=shape))


def read_image(path: Path, size: int, fit: str) -> np.ndarray:
    """One image as uint8 (size, size, 3), RGB, upright by its EXIF orientation, resampled bicubically.

    Raises:
        DazooError: the file is missing, truncated or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"it claims {opened.width} x {opened.height} pixels, over {MOST_PIXELS:,}")
            opened.draft("RGB", (size, size))
            return fitted(opened, size, fit)
    except Exception as error:  # decoders raise many kinds on damaged files
        raise DazooError(f"cannot read the image {path} ({error}); replace the file or remove it") from error


def fitted(image: PIL.Image.Image, size: int, fit: str) -> np.ndarray:
    """An open image as ``read_image`` gives it."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(image).convert("RGB")
    width, height = upright.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, width, height)
    return np.asarray(upright.resize((size, size), Image.Resampling.BICUBIC, box=box))


def _key(files: Sequence[Path], size: int, fit: str) -> str:
    digest = hashlib.sha256(f"{FORMAT}/{size}/{fit}".encode())
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise DazooError(f"cannot read the image {file} ({error}); replace the file or remove it") from error
        digest.update(f"\0{file.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _intact(entry: Path, shape: tuple[int, ...]) -> bool:
    """Whether the entry is complete and matches its sidecar; the checksum is taken once per process and file."""
    try:
        sidecar = json.loads(entry.with_suffix(".json").read_text())
        stat = entry.stat()
        if sidecar["shape"] != list(shape) or stat.st_size != int(np.prod(shape)):
            return False
        mark = (str(entry), stat.st_ino, stat.st_mtime_ns)
        if mark not in _verified:
            with open(entry, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sidecar["sha256"]:
                    return False
            _verified.add(mark)
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(entry: Path, files: Sequence[Path], size: int, fit: str) -> None:
    digest = hashlib.sha256()
    try:
        _sweep(entry.parent)
        with opened(entry) as out, _progress(len(files)) as advance:
            for image in _decoded(files, size, fit):  # raises no OSError of its own
                digest.update(image.data)
                out.write(image.data)
                advance()
        sidecar = {"shape": [len(files), size, size, 3], "sha256": digest.hexdigest()}
        write_text(entry.with_suffix(".json"), json.dumps(sidecar))
    except OSError as error:
        why = error.strerror or error
        raise DazooError(
            f"cannot write the image cache {entry.parent} ({why}); set DAZOO_CACHE to a folder with space"
        ) from error


def _decoded(files: Sequence[Path], size: int, fit: str) -> Iterator[np.ndarray]:
    """Images in order, decoded by threads (Pillow lets go of the interpreter lock) a block at a time."""
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)) as pool:
        for start in range(0, len(files), _BLOCK):
            block = files[start : start + _BLOCK]
            yield from pool.map(lambda f: np.ascontiguousarray(read_image(f, size, fit)), block)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind more than a day ago."""
    for old in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 86400:
                old.unlink()


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A counter that shows a bar on a terminal's standard error once the work has taken a while."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("decoding images", total=total)
    began, shown = time.monotonic(), False

    def advance() -> None:
        nonlocal shown
        bar.advance(task)
        if not shown and time.monotonic() - began > _QUIET_SECONDS:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        if shown:
            bar.stop()
