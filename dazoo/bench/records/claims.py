"""Claims on runs, so that several ``dazoo run`` on one folder share its work instead of doing it twice.

A claim is a file ``claims/<key>`` that exists while a process is at the run. It comes into being at once, with its
owner in it: a hard link to the owner's file, which fails where the name is taken (where a file system has no links, by
exclusive creation). No lock server and no ``flock``, so network file systems will do.

A thread touches the owner's file every ``BEAT`` seconds, and by the link all its claims. A claim is stale when its
owner is a process of this machine that is gone, or when it was not touched for ``EXPIRE`` seconds; both times are
modification times set by the file system, so no two clocks are compared. A stale claim is moved aside under a new name
before it is removed: of several that find it, one succeeds.

Claims are a matter of time, not of results: were one to fail, a run would be done twice, and readers take one record
per key. What counts is the order: claim, look whether the record has been written meanwhile, run, write, release.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from dazoo.core.errors import DazooError
from dazoo.core.files import retried

FOLDER = "claims"
BEAT, EXPIRE = 10.0, 120.0


class Claims:
    """What this process has claimed in a result folder; begins with the first claim and ends with ``close``."""

    def __init__(self, folder: str | Path, token: str = ""):
        """``token``: what it is known by where somebody else has to bury it; a new one by default."""
        self.root = Path(folder) / FOLDER
        self.token = token or secrets.token_hex(6)
        self.owner = self.root / f"owner-{self.token}"
        self.held: set[str] = set()
        self._beat: threading.Thread | None = None
        self._end = threading.Event()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that are ours now; the others belong to living processes.

        Raises:
            DazooError: the folder cannot be written.
        """
        try:
            retried(self._begin)
            taken = {key for key in keys if retried(partial(self._take, key))}
        except OSError as error:
            raise DazooError(f"runs cannot be claimed in {self.root}: {error.strerror or error}") from error
        self.held |= taken
        return taken

    def release(self, keys: Iterable[str]) -> None:
        """Give up what is recorded, or will not be run."""
        for key in self.held & set(keys):
            with suppress(OSError):
                (self.root / key).unlink()
            self.held.discard(key)

    def close(self) -> None:
        """Release everything."""
        self._end.set()
        self.release(set(self.held))
        if self._beat is not None:
            self._beat, self._end = None, threading.Event()
            with suppress(OSError):
                self.owner.unlink()
            with suppress(OSError):
                self.root.rmdir()  # not while others claim

    def holder(self, key: str) -> str:
        """Who is at a run, in words; empty where nobody is."""
        owner = _owner(self.root / key)
        return f"process {owner.get('pid')} on {owner.get('host')}" if owner else ""

    def alive(self, key: str) -> bool:
        """Whether a run is claimed by a process that is not known to be dead."""
        owner = _owner(self.root / key)
        return owner is not None and living(owner) is not False

    def taken(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that somebody else is at, as far as can be told from here."""
        self.begin()
        found = {key: _owner(self.root / key) for key in keys}
        return {key for key, of in found.items() if of is not None and not self._stale(self.root / key, of)}

    def bury(self, token: str) -> None:
        """Free what the owner of a token held, who is known to be dead, on whatever machine it was."""
        for path in self._files():
            owner = _owner(path)
            if owner is not None and owner.get("token") == token:
                self._remove(path, owner)

    def _files(self) -> list[Path]:
        try:
            return list(self.root.iterdir())
        except OSError:
            return []

    def begin(self) -> str:
        """Claim nothing yet, but be there; returns the owner's file relative to the folder.

        Raises:
            DazooError: the folder cannot be written.
        """
        try:
            retried(self._begin)
        except OSError as error:
            raise DazooError(f"nothing can be written to {self.root}: {error.strerror or error}") from error
        return f"{FOLDER}/{self.owner.name}"

    def _begin(self) -> None:
        if self._beat is None or not self.owner.exists():
            for last in (False, False, True):
                try:
                    self.root.mkdir(parents=True, exist_ok=True)
                    self.owner.write_text(json.dumps({"token": self.token, **myself()}), encoding="utf-8")
                    break
                except FileNotFoundError:  # another process ended and removed the empty folder
                    if last:
                        raise
            self._sweep()
        if self._beat is None:
            self._beat = threading.Thread(target=self._touch, daemon=True)
            self._beat.start()

    def _touch(self) -> None:
        end = self._end
        while not end.wait(BEAT):
            for path in (self.owner, *(self.root / key for key in tuple(self.held))):  # links may not be there
                with suppress(OSError):
                    os.utime(path)

    def _take(self, key: str) -> bool:
        path = self.root / key
        for _ in range(3):
            if self._create(path):
                return True
            found = _owner(path)
            if found is not None and (found.get("token") == self.token or not self._stale(path, found)):
                return found.get("token") == self.token
            if found is not None:
                self._remove(path, found)
        return False

    def _create(self, path: Path) -> bool:
        try:
            os.link(self.owner, path)
            return True
        except FileExistsError:
            return False
        except OSError:  # no hard links here
            return self._create_alone(path)

    def _create_alone(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps({"token": self.token, **myself()}))
            return True
        except FileExistsError:
            return False

    def _stale(self, path: Path, owner: dict[str, Any]) -> bool:
        lives = living(owner)
        if lives is not None:
            return not lives
        with suppress(OSError):
            os.utime(self.owner)
            return self.owner.stat().st_mtime - path.stat().st_mtime > EXPIRE
        return False

    def _remove(self, path: Path, judged: dict[str, Any]) -> None:
        """Remove a stale claim, and nothing that took its place meanwhile."""
        aside = self.root / f"aside-{self.token}-{secrets.token_hex(4)}"
        with suppress(OSError):
            os.rename(path, aside)
            if _owner(aside) != judged:
                _put_back(aside, path)
            aside.unlink()

    def _sweep(self) -> None:
        """Remove what the dead left behind."""
        for path in self._files():
            if path != self.owner and (owner := _owner(path)) is not None and self._stale(path, owner):
                self._remove(path, owner)


def _put_back(aside: Path, path: Path) -> None:
    """Give a claim that was moved aside its name again, unless somebody took it by now."""
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except OSError:  # no hard links here
        with suppress(OSError):
            text = aside.read_text(encoding="utf-8")
            with path.open("x", encoding="utf-8") as file:
                file.write(text)


def writing(folder: str | Path) -> set[int]:
    """Numbers of the processes that claim runs in a folder and are not known to be dead."""
    root, found = Path(folder) / FOLDER, set()
    for path in root.glob("owner-*"):
        owner = _owner(path) or {}
        if isinstance(owner.get("pid"), int) and living(owner) is not False:
            found.add(owner["pid"])
    return found


def _owner(path: Path) -> dict[str, Any] | None:
    """What a claim says about its owner; empty where it says nothing, None where there is no such claim."""
    try:
        found = json.loads(retried(lambda: path.read_text(encoding="utf-8")))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def _machine() -> str:
    """What processes share that see each other: the machine since it was started, and the space of process numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def _born(pid: int) -> str:
    """When a process was started, in the system's own unit; "" where that is unknown, "dead" where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return "dead" if Path("/proc/self/stat").exists() else ""
    except OSError:
        return ""
    return "dead" if fields[0] in "ZX" else fields[19]


def living(owner: dict[str, Any]) -> bool | None:
    """Whether the owner of a claim lives; None where this machine cannot tell."""
    pid = owner.get("pid")
    if owner.get("machine") != _machine() or not isinstance(pid, int):
        return None
    if owner.get("born"):
        return _born(pid) == owner["born"]
    if os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return None  # some process has this number
