"""Result folders on object stores (``s3://bucket/sweep``, ``gs://...``, ``memory://``, ``file://``), through fsspec.

An object store cannot append and has no locks. So a process writes to a folder of its own, the *mirror*, which is laid
out like any result folder, and what it flushes becomes a new object that is never changed. Whoever reads pulls what is
new into its mirror first; everything else (reading, caches, reports) knows folders alone. Objects that ``compact``
merged into a part go from the store and, when they are missed there, from the mirrors.

States of unfinished runs and kept outputs stay in the mirror of the machine that made them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dazoo.bench.records.lines import RECORDS, SCORES
from dazoo.core.errors import DazooError
from dazoo.core.files import beside, sync_folder, write_text
from dazoo.core.paths import cache_root

SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):/{1,3}(.*)$")
"""A protocol of at least two letters: ``C:/`` is a drive. ``Path`` makes one slash of two."""
KNOWN = "mirror.json"
PRIVATE = ("cache", "claims", "state", "kept")
"""Folders of a mirror that stay where they are."""
TRIES = 4


def is_remote(place: str | Path) -> bool:
    """Whether a place is on an object store."""
    return SCHEME.match(str(place)) is not None


def normal(place: str | Path) -> str:
    """The address of a place on an object store as fsspec wants it."""
    found = SCHEME.match(str(place))
    if found is None:
        raise DazooError(f"{place} is no address of an object store, such as s3://bucket/folder")
    rest = found[2].strip("/")
    return f"{found[1]}://{'/' if found[1] in ('file', 'local') else ''}{rest}"


def mirror_of(url: str) -> Path:
    """The mirror of an address in the user's cache."""
    last = re.sub(r"[^\w.-]+", "_", url.rpartition("/")[2])[:40]
    return cache_root() / "results" / f"{last}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path in it.

    Raises:
        DazooError: fsspec, or what it needs for the protocol, is not installed, or the address is wrong.
    """
    scheme = url.partition(":")[0]
    try:
        import fsspec
    except ImportError:
        raise DazooError(f"{url} needs the package fsspec; pip install 'dazoo[remote]'") from None
    try:
        fs, path = fsspec.core.url_to_fs(url, skip_instance_cache=False)
    except ImportError as error:
        raise DazooError(f"{scheme}:// needs a package that is not installed: {error}") from None
    except ValueError as error:
        raise DazooError(f"{url} is no address that fsspec knows: {error}") from None
    return fs, str(path).rstrip("/")


def has(place: str | Path, name: str) -> bool:
    """Whether a result folder holds a file, wherever it is."""
    if not is_remote(place):
        return (Path(place) / name).exists()
    fs, root = filesystem(normal(place))
    fs.invalidate_cache(root)
    return bool(fs.exists(f"{root}/{name}"))


class Remote:
    """An address and its mirror."""

    def __init__(self, url: str, folder: Path | None = None):
        self.url = normal(url)
        self.folder = folder or mirror_of(self.url)
        self.fs, self.root = filesystem(self.url)
        self.folder.mkdir(parents=True, exist_ok=True)

    def listed(self, name: str) -> dict[str, int]:
        """Names and sizes of the objects in a folder of the store, as they are now."""
        path = f"{self.root}/{name}" if name else self.root
        self.fs.invalidate_cache(path)
        try:
            found = _tried(lambda: self.fs.ls(path, detail=True))
        except FileNotFoundError:
            return {}
        return {str(f["name"]).rpartition("/")[2]: int(f["size"] or 0) for f in found if f["type"] == "file"}

    def pull(self, folders: Iterable[str] = (RECORDS, SCORES)) -> None:
        """Bring the mirror up to date: what is new or longer comes, what was merged goes."""
        known = self._known()
        for name in folders:
            there = self.listed(name)
            here = self.folder / name
            for one, size in sorted(there.items()):
                path = here / one
                if not path.is_file() or path.stat().st_size < size:
                    self._get(f"{name}/{one}", path)
            for gone in known.get(name, set()) - set(there):  # after what it was merged into has come
                with suppress(OSError):
                    (here / gone).unlink()
            known[name] = set(there)
        self._remember(known)

    def push(self, paths: Iterable[Path]) -> None:
        """Copy files of the mirror to the store, under the same names."""
        known = self._known()
        for path in paths:
            name = path.relative_to(self.folder)
            target = f"{self.root}/{name.as_posix()}"
            self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            _tried(lambda path=path, target=target: self.fs.put_file(str(path), target))  # type: ignore[misc]
            known.setdefault(name.parent.as_posix(), set()).add(name.name)
        self._remember(known)

    def publish(self, since: float = 0.0) -> None:
        """Copy to the store what it lacks, what changed since a time, and drop from it what the mirror merged."""
        for name in (RECORDS, SCORES):
            there, root = self.listed(name), self.folder / name
            here = {p.name: p for p in root.iterdir() if p.suffix != ".tmp"} if root.is_dir() else {}
            self.push(p for n, p in sorted(here.items()) if p.stat().st_size > there.get(n, -1))
            for gone in self._known().get(name, set()) & set(there) - set(here):
                with suppress(FileNotFoundError):
                    self.fs.rm_file(f"{self.root}/{name}/{gone}")
        rest = [p for p in self.folder.rglob("*") if p.is_file() and p.suffix != ".tmp" and p.name != KNOWN]
        own = [p for p in rest if p.relative_to(self.folder).parts[0] not in (*PRIVATE, RECORDS, SCORES)]
        self.push(p for p in own if p.stat().st_mtime >= since)

    def _get(self, name: str, path: Path) -> None:
        temporary = beside(path)
        try:
            _tried(lambda: self.fs.get_file(f"{self.root}/{name}", str(temporary)))
            os.replace(temporary, path)
            sync_folder(path.parent)
        except FileNotFoundError:  # merged since it was listed
            pass
        finally:
            temporary.unlink(missing_ok=True)

    def _known(self) -> dict[str, set[str]]:
        try:
            data = json.loads((self.folder / KNOWN).read_text(encoding="utf-8"))
            return {name: set(names) for name, names in data["names"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _remember(self, known: dict[str, set[str]]) -> None:
        """Note what this mirror has seen in the store; of two processes that do so at a time one may lose names, whose
        objects then stay a while longer."""
        names = {name: sorted(known.get(name, ())) for name in (RECORDS, SCORES)}
        write_text(self.folder / KNOWN, json.dumps({"url": self.url, "names": names}))


def _tried(call: Any) -> Any:
    """What ``call`` returns, tried again after errors of a network; a name that is not there is one at once."""
    for last in (*[False] * (TRIES - 1), True):
        try:
            return call()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            if last:
                raise
            time.sleep(0.2)
    raise AssertionError
