"""What a result folder is written and followed by, wherever it is: a folder of a file system, or an object store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dazoo.bench.records.claims import Claims
from dazoo.bench.records.lines import RECORDS
from dazoo.bench.records.remote import Remote, is_remote
from dazoo.bench.records.remote_claims import RemoteClaims
from dazoo.bench.records.store import Follower, NotStored, Writer


class Store:
    """A result folder of a file system."""

    def __init__(self, folder: Path):
        self.folder = folder

    def writer(self, kind: str = RECORDS) -> Writer:
        return Writer(self.folder, kind)

    def claims(self, token: str = "") -> Claims | RemoteClaims:
        return Claims(self.folder, token)

    def follower(self, at: dict[str, int] | None = None) -> Follower:
        return Follower(self.folder, at)

    def pull(self) -> None:
        """Make ``folder`` what the store holds."""

    def publish(self, since: float = 0.0) -> None:
        """Make the store what ``folder`` holds."""


class RemoteStore(Store):
    """A result folder on an object store; ``folder`` is its mirror."""

    def __init__(self, url: str):
        self.remote = Remote(url)
        super().__init__(self.remote.folder)

    def writer(self, kind: str = RECORDS) -> Writer:
        return RemoteWriter(self.remote, kind)

    def claims(self, token: str = "") -> Claims | RemoteClaims:
        return RemoteClaims(self.remote, token)

    def follower(self, at: dict[str, int] | None = None) -> Follower:
        return RemoteFollower(self.remote, at)

    def pull(self) -> None:
        self.remote.pull()

    def publish(self, since: float = 0.0) -> None:
        self.remote.publish(since)


def store_of(place: str | Path) -> Store:
    """The store at a path, or at an address such as ``s3://bucket/folder``.

    Raises:
        DazooError: fsspec, or what it needs for the protocol, is not installed.
    """
    return RemoteStore(str(place)) if is_remote(place) else Store(Path(place))


@contextmanager
def at_hand(place: str | Path) -> Iterator[Path]:
    """A result folder to read and to write files in, which go where it is at the end of the block."""
    store, began = store_of(place), time.time() - 2.0
    store.pull()
    yield store.folder
    store.publish(began)


class RemoteWriter(Writer):
    """Appends to a shard of the mirror; what is flushed becomes an object, and the next record begins another shard."""

    def __init__(self, remote: Remote, kind: str = RECORDS):
        super().__init__(remote.folder, kind)
        self.remote = remote

    def flush(self) -> None:
        """Nothing is safe before it is in the store, so there is nothing to do between two calls of ``sync``."""

    def sync(self) -> None:
        self.close()

    def close(self) -> None:
        path = self.opened
        super().close()
        if path is not None and path.is_file():
            try:
                self.remote.push([path])
            except OSError as error:
                raise NotStored(
                    f"records could not be written to {self.remote.url}: {error}; they are in {path}, and the same "
                    "command on this machine writes them again"
                ) from error


class RemoteFollower(Follower):
    """Follows an object store through its mirror."""

    def __init__(self, remote: Remote, at: dict[str, int] | None = None):
        super().__init__(remote.folder, at)
        self.remote = remote

    def new_runs(self) -> list[tuple[str, float | None]]:
        self.remote.pull([RECORDS])
        return super().new_runs()
