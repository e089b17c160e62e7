"""Claims on runs in an object store: no locks, no hard links, no exclusive creation.

To claim a run, a process writes the object ``claims/<key>/<token>`` and then lists ``claims/<key>/``. It has the run
where no other living process's object is there; else it withdraws its own. Each writes before it lists, so of two at
most one sees nobody else, on every store whose listings show what was written before (S3, Google Cloud Storage and
Azure do). Two at the same moment may both withdraw: both come back to that run later.

A claim counts as long as its owner's object ``claims/owner-<token>`` is renewed, by the clock of the store.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from dazoo.bench.records.claims import BEAT, EXPIRE, FOLDER, living, myself
from dazoo.bench.records.remote import Remote
from dazoo.core.errors import DazooError


class RemoteClaims:
    """As ``Claims``, of a result folder on an object store."""

    def __init__(self, remote: Remote, token: str = ""):
        self.remote, self.fs = remote, remote.fs
        self.root = f"{remote.root}/{FOLDER}"
        self.token = token or secrets.token_hex(6)
        self.held: set[str] = set()
        self._beat: threading.Thread | None = None
        self._end = threading.Event()

    def take(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that are ours now.

        Raises:
            DazooError: the store cannot be written.
        """
        try:
            self._begin()
            taken = {key for key in keys if key in self.held or self._take(key)}
        except OSError as error:
            raise DazooError(f"runs cannot be claimed in {self.remote.url}: {error}") from error
        self.held |= taken
        return taken

    def release(self, keys: Iterable[str]) -> None:
        """Give up what is recorded, or will not be run."""
        for key in self.held & set(keys):
            self._drop(key, self.token)
            self.held.discard(key)

    def close(self) -> None:
        """Release everything."""
        self._end.set()
        self.release(set(self.held))
        if self._beat is not None:
            self._beat, self._end = None, threading.Event()
            with suppress(OSError):
                self.fs.rm_file(self._owner(self.token))

    def holder(self, key: str) -> str:
        """Who is at a run, in words; empty where nobody is."""
        owners = [self._told(token) for token in self._tokens(key)]
        owner = next((o for o in owners if o), None)
        return f"process {owner.get('pid')} on {owner.get('host')}" if owner else ""

    def alive(self, key: str) -> bool:
        """Whether a run is claimed by a process that is not known to be dead."""
        return any((owner := self._told(t)) is not None and living(owner) is not False for t in self._tokens(key))

    def taken(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` that somebody else is at."""
        return {key for key in keys if any(t != self.token and self._lives(t) for t in self._tokens(key))}

    def begin(self) -> str:
        """Claim nothing yet, but be there; returns the owner's object relative to the folder.

        Raises:
            DazooError: the store cannot be written.
        """
        try:
            self._begin()
        except OSError as error:
            raise DazooError(f"nothing can be written to {self.remote.url}: {error}") from error
        return f"{FOLDER}/owner-{self.token}"

    def bury(self, token: str) -> None:
        """Free what the owner of a token held, who is known to be dead."""
        with suppress(OSError):
            self.fs.rm_file(self._owner(token))

    def _begin(self) -> None:
        if self._beat is None:
            self.fs.makedirs(self.root, exist_ok=True)
            self._renew()
            self._beat = threading.Thread(target=self._keep_on, daemon=True)
            self._beat.start()

    def _renew(self) -> None:
        self.fs.pipe_file(self._owner(self.token), json.dumps({"token": self.token, **myself()}).encode())

    def _keep_on(self) -> None:
        end = self._end
        while not end.wait(BEAT):
            with suppress(OSError):
                self._renew()

    def _take(self, key: str) -> bool:
        self.fs.makedirs(f"{self.root}/{key}", exist_ok=True)
        self.fs.pipe_file(f"{self.root}/{key}/{self.token}", b"")
        for other in self._tokens(key):
            if other != self.token:
                if self._lives(other):
                    self._drop(key, self.token)
                    return False
                self._drop(key, other)
        return True

    def _tokens(self, key: str) -> list[str]:
        return list(self.remote.listed(f"{FOLDER}/{key}"))

    def _drop(self, key: str, token: str) -> None:
        with suppress(OSError):
            self.fs.rm_file(f"{self.root}/{key}/{token}")

    def _owner(self, token: str) -> str:
        return f"{self.root}/owner-{token}"

    def _told(self, token: str) -> dict[str, Any] | None:
        """What an owner says of itself, None where it is gone."""
        self.fs.invalidate_cache(self.root)
        try:
            found = json.loads(self.fs.cat_file(self._owner(token)))
            return found if isinstance(found, dict) else {}
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return {}

    def _lives(self, token: str) -> bool:
        owner = self._told(token)
        if owner is None:
            return False
        known = living(owner)
        if known is not None:
            return known
        with suppress(OSError):
            self._renew()
            self.fs.invalidate_cache(self.root)
            age = self.fs.modified(self._owner(self.token)) - self.fs.modified(self._owner(token))
            return bool(age.total_seconds() <= EXPIRE)
        return True
