"""The record store: one line per run, damage is skipped and named, nothing is ever rewritten."""

from __future__ import annotations

import json
import math
from pathlib import Path

from dazoo.bench.records.store import FORMAT, Damage, Follower, Writer, records, stored

KEYS = ["0" * 31 + c for c in "abcdef"]


def test_write_and_read(tmp_path: Path) -> None:
    first, second = Writer(tmp_path), Writer(tmp_path)
    first.append(KEYS[0], "ok", {"x": math.nan, "y": [math.inf, 1.5], "z": (1, 2)})
    second.append(KEYS[1], "failed", {"error": {"message": "no"}})
    assert len(list((tmp_path / "records").glob("shard-*.jsonl"))) == 2
    assert stored(tmp_path)[0] == {KEYS[0]: "ok", KEYS[1]: "failed"}
    got = {r["key"]: r for r in records(tmp_path)}
    assert got[KEYS[0]]["x"] is None and got[KEYS[0]]["y"] == [None, 1.5] and got[KEYS[0]]["z"] == [1, 2]


def test_no_shard_without_a_record_and_no_records_without_a_folder(tmp_path: Path) -> None:
    Writer(tmp_path).close()
    assert not (tmp_path / "records").exists()
    assert stored(tmp_path)[0] == {} and list(records(tmp_path)) == []


def test_every_cut_of_the_last_line_loses_that_run_only(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(KEYS[0], "ok", {"x": {"y": "}"}})
    writer.append(KEYS[1], "ok", {"x": {"y": "}"}})
    (shard,) = (tmp_path / "records").glob("*.jsonl")
    whole = shard.read_bytes()
    start = whole.index(b"\n") + 1
    for cut in range(start + 1, len(whole)):
        shard.write_bytes(whole[:cut])
        found, damage = stored(tmp_path)
        assert set(found) == {KEYS[0]} and len(damage) == 1
        assert f"{shard.name}, line 2 is cut off" in damage.summary()
        read_damage = Damage()
        assert [r["key"] for r in records(tmp_path, read_damage)] == [KEYS[0]] and len(read_damage) == 1


def test_other_formats_and_garbage_are_counted_and_named(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(KEYS[0], "ok", {})
    (tmp_path / "records" / "shard-old.jsonl").write_text(
        json.dumps({"format": FORMAT + 1, "key": KEYS[1], "status": "ok"}, separators=(",", ":")) + "\nnonsense\n"
    )
    found, damage = stored(tmp_path)
    assert set(found) == {KEYS[0]}
    assert damage.summary() == (
        f"2 lines were skipped: records/shard-old.jsonl, line 1 has format {FORMAT + 1}, this version reads {FORMAT}; "
        "records/shard-old.jsonl, line 2 is cut off or no record"
    )


def test_a_later_success_wins_over_a_failure(tmp_path: Path) -> None:
    for status in ("failed", "ok", "failed"):
        Writer(tmp_path).append(KEYS[0], status, {})
    assert stored(tmp_path)[0] == {KEYS[0]: "ok"}


def test_following_reports_whole_new_lines_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.append(KEYS[0], "ok", {})
    follower = Follower(tmp_path)
    assert follower.new_keys() == []
    writer.append(KEYS[1], "ok", {})
    Writer(tmp_path).append(KEYS[2], "ok", {})
    assert sorted(follower.new_keys()) == KEYS[1:3]
    (shard,) = (p for p in (tmp_path / "records").glob("*.jsonl") if KEYS[2].encode() in p.read_bytes())
    with shard.open("ab") as file:
        file.write(b'{"format":1,"key":"' + KEYS[3].encode() + b'","status":"ok"')
        file.flush()
        assert follower.new_keys() == []
        file.write(b"}\n")
    assert follower.new_keys() == [KEYS[3]]


def test_a_full_shard_is_followed_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr("dazoo.bench.records.store.SHARD", 500)
    writer = Writer(tmp_path)
    for i in range(6):
        writer.append(f"{i:032x}", "failed", {"error": {"type": "X", "message": "m" * 150, "traceback": ""}})
    writer.close()
    shards = sorted((tmp_path / "records").glob("*.jsonl"))
    assert 1 < len(shards) < 6 and all(p.stat().st_size < 900 for p in shards)
    assert sum(len(p.read_text().splitlines()) for p in shards) == 6
