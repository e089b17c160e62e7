"""The cache of lines: reads the same as the lines whatever happens to it or to them, and saves parsing them."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.analysis.read import read_runs
from dazoo.bench.records import cache
from dazoo.bench.records.compact import compact
from dazoo.bench.records.lines import Damage
from dazoo.bench.records.store import Writer, records, stored, tables
from tests.bench_tools import accuracies, scored, write_run

CACHED = "cache"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WORTH", 1)
    monkeypatch.setattr(cache, "SETTLED", 0)  # tests write faster than any user does


def add(folder: Path, *labels: str, writer: Writer | None = None) -> None:
    to = writer or Writer(folder)
    for label in labels:
        curves = {"cls": [(s, 1 / (s + 1)) for s in range(20)], "idle": [(s, 0.0) for s in range(20)]}
        scores, target = scored("v", 0.1, None, len(label) / 7), accuracies(0.5, 1 / 3, 0.9)
        write_run(to, label, "toy/x->y", 0, scores=scores, target=target, curves=curves)
    if writer is None:
        to.close()


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob("*.jsonl"))


def tables_read(folder: Path) -> list[dict[str, Any]]:
    """All records by tables, which makes or mends the cache."""
    found = [table.record(i) for table in tables(folder, Damage()) for i in range(len(table))]
    return sorted(found, key=lambda r: r["key"])


def check(folder: Path) -> None:
    """Every way of reading says what it says without a cache, the first time and the second."""
    bare = folder.parent / f"{folder.name}-bare"
    shutil.rmtree(bare, ignore_errors=True)
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns(CACHED))
    plain = Damage()
    expected = sorted(records(bare, plain), key=lambda r: r["key"])
    for _ in range(2):
        damage = Damage()
        assert sorted(records(folder, damage), key=lambda r: r["key"]) == expected
        assert sorted(damage.places) == sorted(plain.places)
        known, damage = stored(folder)
        assert known == stored(bare)[0] and sorted(damage.places) == sorted(plain.places)
        assert tables_read(folder) == expected
        found = read_runs(folder)
        assert sorted(found.damage.places) == sorted(plain.places)
        assert {r.key: r.started for r in found.runs} == {r["key"]: r["started"] for r in expected}


def test_lines_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, "a", "b")
    add(tmp_path, "c")
    check(tmp_path)
    asked: list[bytes] = []
    monkeypatch.setattr(cache, "parsed", lambda line, parse=cache.parsed: asked.append(line) or parse(line))
    assert len(tables_read(tmp_path)) == 3 and not asked
    with shards(tmp_path)[0].open("ab") as shard:
        shard.write(shards(tmp_path)[1].read_bytes())
    add(tmp_path, "d")
    assert len(tables_read(tmp_path)) == 5 and len(asked) == 2
    assert len(tables_read(tmp_path)) == 5 and len(asked) == 2
    monkeypatch.setattr(cache, "WORTH", 10**9)
    shutil.rmtree(tmp_path / CACHED)
    assert len(tables_read(tmp_path)) == 5 and not (tmp_path / CACHED).exists()


def test_whatever_happens_to_the_lines(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    writer = Writer(folder)
    add(folder, "a", "b", writer=writer)
    check(folder)
    add(folder, "c", writer=writer)  # appended
    check(folder)
    shard = shards(folder)[0]
    whole = shard.read_bytes()
    for text in (
        whole[:-40],  # cut
        whole + b'{"format":1,"key":"',  # being written
        whole + b'nonsense\n{"format":9,"key":"ab","status":"ok"}\n' + whole,
        whole.replace(b"0.5", b"0.6", 1),  # changed at the same length
        whole[whole.index(b"\n") + 1 :],
        b"",
        whole,
    ):
        shard.write_bytes(text)
        check(folder)
    add(folder, "d", "e")
    check(folder)
    shards(folder)[0].unlink()
    check(folder)
    add(folder, "f")
    compact(folder)
    check(folder)
    add(folder, "g")
    check(folder)


def test_whatever_happens_to_the_cache(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    for label in "abc":
        add(folder, label)
        check(folder)
    draw = random.Random(0)
    for _ in range(4):
        victim = draw.choice(sorted((folder / CACHED).iterdir()))
        data = victim.read_bytes()
        bad = bytearray(data)
        bad[draw.randrange(len(bad))] ^= 1 + draw.randrange(255)
        for text in (bytes(bad), data[: len(data) // 2], b"", b"{}", b"null", None):
            victim.unlink() if text is None else victim.write_bytes(text)
            check(folder)
            shutil.copytree(folder / CACHED, tmp_path / "c", dirs_exist_ok=True)
            victim = draw.choice(sorted((folder / CACHED).iterdir()))
            data = victim.read_bytes()
    shutil.rmtree(folder / CACHED)
    check(folder)
    # the cache of another folder, and of the same one at another time
    other = tmp_path / "p"
    add(other, "x")
    check(other)
    shutil.copytree(other / CACHED, folder / CACHED, dirs_exist_ok=True)
    check(folder)


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    add(folder, "a", "b")
    (folder / CACHED).write_text("no folder")
    check(folder)


def test_many_small_files_are_merged_and_orphans_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "o"
    for i in range(2 * cache.MOST):
        add(folder, f"m{i}")
        tables_read(folder)
    assert len(cache.Index.read(folder / CACHED).files) <= cache.MOST + 1
    monkeypatch.setattr(cache, "ORPHANED", -1)
    add(folder, "last")
    check(folder)
    assert len(list((folder / CACHED).glob("*.parquet"))) == len(cache.Index.read(folder / CACHED).files)


def _write(folder: str, label: str, count: int) -> None:
    writer = Writer(folder)
    for i in range(count):
        add(Path(folder), f"{label}{i}", writer=writer)
    writer.close()


def test_writers_append_while_readers_build(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    add(folder, "first")
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    writers = [context.Process(target=_write, args=(str(folder), label, 60)) for label in "ab"]
    seen: list[int] = []

    def read() -> None:
        while any(w.is_alive() for w in writers):
            seen.append(len(tables_read(folder)))

    for writer in writers:
        writer.start()
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for thing in (*writers, *readers):
        thing.join()
    assert seen and all(1 <= n <= 121 for n in seen)
    assert len(tables_read(folder)) == 121
    check(folder)
    compact(folder)
    check(folder)
