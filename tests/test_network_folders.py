"""Errors of network file systems that opening a file anew mends: what has no record for them has none at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.records.claims import Claims
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Follower, NotStored, Writer, records, stored
from dazoo.core.files import retried
from tests.bench_tools import accuracies, write_run

STALE = OSError(errno.ESTALE, "Stale file handle")


def first_fails(call: Callable[..., Any], failed: set[str], error: OSError = STALE) -> Callable[..., Any]:
    """``call``, which fails the first time that it is told a name."""

    def fake(name: Any, *args: Any, **more: Any) -> Any:
        if str(name) not in failed:
            failed.add(str(name))
            raise error
        return call(name, *args, **more)

    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs as a part, one as a line."""
    writer = Writer(tmp_path)
    for label in "abc":
        write_run(writer, label, "d/x->y", target=accuracies(0.5))
    writer.close()
    compact(tmp_path)
    writer = Writer(tmp_path)
    write_run(writer, "e", "d/x->y", target=accuracies(0.5))
    writer.close()
    return tmp_path


def test_every_reader_opens_a_stale_file_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: set[str] = set()
    monkeypatch.setattr("dazoo.core.files.PAUSE", 0.0)
    monkeypatch.setattr(Path, "open", first_fails(Path.open, failed))
    monkeypatch.setattr(os, "listdir", first_fails(os.listdir, failed))
    found, damage = stored(folder)
    assert len(found) == 4 and not damage
    files = {p for p in failed if p.endswith((".jsonl", ".parquet"))}
    assert len(files) == 2, "both kinds of files were stale"
    for look in (lambda: list(records(folder)), lambda: Follower(folder, {}).new_keys()):
        failed.clear()
        assert len(look()) == 4 and files <= failed


def test_what_stays_stale_is_an_error_and_so_is_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazoo.core.files.PAUSE", 0.0)
    tries: list[int] = []

    def always(code: int) -> None:
        tries.append(code)
        raise OSError(code, os.strerror(code))

    for code, times in ((errno.ESTALE, 2), (errno.EACCES, 1), (errno.ENOSPC, 1)):
        with pytest.raises(OSError, match=os.strerror(code)):
            retried(lambda code=code: always(code))  # type: ignore[misc]
        assert tries.count(code) == times


def test_a_claim_is_taken_and_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazoo.core.files.PAUSE", 0.0)
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.take(["0a"]) == {"0a"}
    failed: set[str] = set()
    monkeypatch.setattr(Path, "open", first_fails(Path.open, failed))
    assert second.take(["0a", "0b"]) == {"0b"} and str(tmp_path / "claims" / "0a") in failed
    failed.clear()
    assert second.alive("0a") and failed
    first.close()
    second.close()


def test_a_record_goes_to_another_shard_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, broken = Writer(tmp_path), [STALE]
    writer.append("0a", "ok", {})
    write = os.write

    def fails(handle: int, text: bytes) -> int:
        if broken:
            raise broken.pop()
        return write(handle, text)

    monkeypatch.setattr(os, "write", fails)
    writer.append("0b", "ok", {})
    assert set(stored(tmp_path)[0]) == {"0a", "0b"} and len(list((tmp_path / "records").iterdir())) == 2
    broken += [STALE, STALE]
    with pytest.raises(NotStored, match="could not be written"):
        writer.append("0c", "ok", {})
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(STALE))
    writer.append("0d", "ok", {})
    with pytest.raises(NotStored, match="Stale file handle"):
        writer.sync()
