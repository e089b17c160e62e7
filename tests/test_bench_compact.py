"""``dazoo compact``: small parts that read the same, made beside other writers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dazoo.bench.records.claims import Claims
from dazoo.bench.records.columns import table_of
from dazoo.bench.records.compact import compact
from dazoo.bench.records.parts import part_paths, write_parts
from dazoo.bench.records.store import SCORES, Damage, Follower, Writer, records, stored
from dazoo.bench.records.table import records_of
from dazoo.bench.records.thin import POINTS, thinned
from dazoo.bench.report.build import report
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, scored, write_run

TABLES = ("leaderboard.md", "leaderboard.csv", "per_task.csv", "validators.csv", "seconds.csv", "leaderboard.tex")


def fill(folder: Path) -> None:
    writer = Writer(folder)
    for seed in range(3):
        for i, label in enumerate(("a", "b")):
            points = scored("v", 0.1 * i, None, 0.3 + seed / 7), accuracies(0.5, 1 / 3, 0.9 - 0.1 * i)
            curves = {"cls": [(s, 1 / (s + 1)) for s in range(100)], "idle": [(s, 0.0) for s in range(100)]}
            write_run(writer, label, "toy/x->y", seed, scores=points[0], target=points[1], curves=curves)
        writer.close()
    write_run(writer, "c", "toy/x->y", status="failed")
    writer.close()


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob("*.jsonl"))


def by_key(folder: Path) -> dict[str, Any]:
    return {r["key"]: r for r in records(folder)}


ODD: list[dict[str, Any]] = [
    {},
    {"spec": None, "checkpoints": None, "curves": None},
    {"spec": {}, "checkpoints": [], "curves": {}, "x": None},
    {"spec": {"seed": 1, "code": None, "a:b": [1, {"c": None}]}, "field:x": 1, "points": 3, "curves_step": "s"},
    {"checkpoints": [{"step": 1, "scores": {}}, {"step": 2, "scores": {"v": 1.0}}]},
    {"checkpoints": [{"step": 1, "fraction": None, "scores": {"v": None, "w": 2}, "target": {}}] * 2},
    {"checkpoints": [{"step": True, "scores": {"v": False}}], "curves": {"x": [[1, True]]}},
    {"checkpoints": [{"step": 2**60, "other": 1}], "curves": {"x": [[2**60, 1.0]], "y": 3}},
    {"checkpoints": [{"scores": {"v": 10**400}}, "no point"], "curves": {"": [], "z": [[-1, None], [0, 1e-320]]}},
    {"curves": {"x": [[1, 2.0, 3]]}, "seconds": 1, "text": "\udc80 ü \x00", "deep": [[[{"a": [1e308, -0.0]}]]]},
    {"seconds": 0.1}, {"seconds": None},
]  # fmt: skip


def test_every_record_comes_back_equal() -> None:
    made = [{"key": f"{i:x}", "status": "ok", **r} for i, r in enumerate(ODD)]
    for order in range(5):
        mixed = random.Random(order).sample(made, len(made))
        assert list(records_of(table_of(mixed))) == mixed
    for one in made:
        (back,) = records_of(table_of([one]))
        assert back == one


def test_tables_stay_byte_for_byte_and_records_equal(tmp_path: Path) -> None:
    fill(tmp_path)
    report(tmp_path)
    tables = {n: (tmp_path / n).read_bytes() for n in TABLES}
    before = by_key(tmp_path)
    result = CliRunner().invoke(app, ["compact", str(tmp_path)])
    assert result.exit_code == 0 and "7 runs merged, 4 to 1 files" in result.output.replace("\n", "")
    assert shards(tmp_path) == [] and len(part_paths(tmp_path / "records")) == 1
    after = by_key(tmp_path)
    assert after == {k: thinned(r) for k, r in before.items()} and list(after) == list(before)
    report(tmp_path)
    assert {n: (tmp_path / n).read_bytes() for n in TABLES} == tables
    assert stored(tmp_path)[0] == {k: r["status"] for k, r in before.items()}
    assert compact(tmp_path).runs == 0  # nothing is left to do, and nothing is rewritten
    assert by_key(tmp_path) == after


def test_thinning_keeps_what_is_drawn_and_what_is_idle() -> None:
    late = [[i, 5e-324 if i == 51 else 0.0] for i in range(100)]
    curves = {"late": late, "idle": [[i, 0.0] for i in range(100)], "short": [[0, 1.5], [3, None]], "empty": []}
    made = thinned({"curves": curves})["curves"]
    assert len(made["late"]) == POINTS and any(v for _, v in made["late"]) and not any(v for _, v in made["idle"])
    assert made["late"][0] == [0, 0.0] and made["late"][-1] == [99, 0.0]
    assert made["short"] == curves["short"] and made["empty"] == []
    assert thinned({"curves": made})["curves"] == made
    for damaged in ({"x": 1}, {"x": [[1]]}, {"x": [1]}, [], None, "no"):
        assert thinned({"curves": damaged}) == {"curves": damaged}


def test_a_running_writer_loses_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    keys = set(by_key(tmp_path))
    claims, writer = Claims(tmp_path), Writer(tmp_path)
    claims.take(["f" * 32])
    write_run(writer, "late", "toy/x->y", 0, target=accuracies(0.5))
    made = compact(tmp_path)  # this process claims, so that its shards stay
    assert made.runs == 0 and len(made.left) == len(shards(tmp_path)) and "running" in made.left[0][1]
    claims.close()
    compact(tmp_path)
    assert shards(tmp_path) == []
    write_run(writer, "later", "toy/x->y", 0, target=accuracies(0.5))  # to a file that has been removed
    assert len(shards(tmp_path)) == 1
    assert len(by_key(tmp_path)) == len(keys) + 2
    writer.close()
    compact(tmp_path)  # the small part of before is merged, too
    assert shards(tmp_path) == [] and len(part_paths(tmp_path / "records")) == 1
    assert len(list(records(tmp_path))) == len(keys) + 2


def test_a_line_written_between_reading_and_removing_is_rescued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    writer = Writer(tmp_path)
    write_run(writer, "first", "toy/x->y", 0, target=accuracies(0.5))

    def beside(*args: Any, **options: Any) -> list[Path]:
        write_run(writer, "second", "toy/x->y", 0, target=accuracies(0.5))
        return write_parts(*args, **options)

    monkeypatch.setattr("dazoo.bench.records.compact.write_parts", beside)
    compact(tmp_path)
    assert {r["spec"]["label"] for r in records(tmp_path)} == {"a", "b", "c", "first", "second"}


def test_killed_after_the_part_was_written_every_run_is_there_once(tmp_path: Path) -> None:
    fill(tmp_path)
    lines = {p.name: p.read_bytes() for p in shards(tmp_path)}
    compact(tmp_path)
    expected = list(records(tmp_path))
    for name, text in lines.items():
        (tmp_path / "records" / name).write_bytes(text)
    assert {r["key"]: thinned(r) for r in records(tmp_path)} == {r["key"]: r for r in expected}
    assert len(list(records(tmp_path))) == len(expected)
    compact(tmp_path)
    assert list(records(tmp_path)) == expected and shards(tmp_path) == []


def test_shards_with_bad_lines_stay(tmp_path: Path) -> None:
    fill(tmp_path)
    cut = shards(tmp_path)[1]
    cut.write_bytes(cut.read_bytes()[:-30])
    keys = set(by_key(tmp_path))
    made = compact(tmp_path)
    assert shards(tmp_path) == [cut] and made.left[0][0] == cut.name and "cut off" in made.left[0][1]
    assert set(by_key(tmp_path)) == keys and "cut off" in stored(tmp_path)[1].summary()


def test_a_damaged_part_is_named_and_its_runs_are_missing(tmp_path: Path) -> None:
    fill(tmp_path)
    for path in shards(tmp_path)[2:]:  # a second part
        path.rename(tmp_path / path.name)
    compact(tmp_path)
    kept = set(by_key(tmp_path))
    (first,) = part_paths(tmp_path / "records")
    rest = tmp_path / "rest"
    (rest / "records").mkdir(parents=True)
    for path in tmp_path.glob("*.jsonl"):
        path.rename(rest / "records" / path.name)
    compact(rest)
    (part,) = part_paths(rest / "records")
    shutil.copy(part, first.parent)
    assert len(by_key(tmp_path)) == 7
    good = part.read_bytes()
    for at in range(0, len(good), max(1, len(good) // 25)):
        bad = bytearray(good)
        bad[at] ^= 1 + at % 255
        (first.parent / part.name).write_bytes(bytes(bad))
        damage = Damage()
        assert {r["key"] for r in records(tmp_path, damage)} == kept == set(stored(tmp_path)[0])
        assert damage.summary() == (
            f"the part records/{part.name} differs from the checksum in its name; its runs count as missing and are "
            "run again"
        )
    assert part.name in report(tmp_path).runs.damage.summary()


def test_another_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    with monkeypatch.context() as newer:
        newer.setattr("dazoo.bench.records.parts.FORMAT", 2)
        compact(tmp_path)
    assert "has format 2, this version reads 1; its runs count as missing" in stored(tmp_path)[1].summary()


def test_parts_are_small(tmp_path: Path) -> None:
    fill(tmp_path)
    before = by_key(tmp_path)
    every = [thinned(r) for r in before.values()]
    (whole,) = write_parts(tmp_path / "all", "1", every)
    limit = whole.stat().st_size - 1
    made = write_parts(tmp_path / "records", "1", every, limit)
    assert len(made) > 1 and all(p.stat().st_size <= limit for p in made)
    for path in shards(tmp_path):
        path.unlink()
    assert list(by_key(tmp_path)) == list(before)


def test_who_follows_sees_what_was_merged_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path)
    follower = Follower(tmp_path)
    writer = Writer(tmp_path)
    write_run(writer, "new", "toy/x->y", 0, target=accuracies(0.5))
    writer.close()
    compact(tmp_path)
    assert (
        set(stored(tmp_path)[0])
        >= set(follower.new_keys())
        >= {r["key"] for r in records(tmp_path) if r["spec"]["label"] == "new"}
    )
    assert follower.new_keys() == []


def test_scores_computed_later_join_parts(tmp_path: Path) -> None:
    fill(tmp_path)
    key = next(k for k, s in stored(tmp_path)[0].items() if s == "ok")
    writer = Writer(tmp_path, SCORES)
    writer.append(key, "ok", {"scores": {"v": [1.0, 2.0, None]}})
    writer.close()
    compact(tmp_path)
    assert [p["scores"]["v"] for p in by_key(tmp_path)[key]["checkpoints"]] == [1.0, 2.0, None]
    assert len(list((tmp_path / SCORES).glob("*.jsonl"))) == 1


def test_nothing_to_compact(tmp_path: Path) -> None:
    with pytest.raises(DazooError, match="holds no records"):
        compact(tmp_path)


def test_parts_are_read_once_however_many_batches_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dazoo.bench.records.compact as module

    fill(tmp_path)
    compact(tmp_path)
    lines = by_key(tmp_path)
    fill(tmp_path)  # the same keys, begun anew or not
    monkeypatch.setattr(module, "FILES", 1)
    monkeypatch.setattr(module, "SMALL", 0)  # all parts stay
    read: list[str] = []
    real = module.read_part
    monkeypatch.setattr(module, "read_part", lambda path, *columns: read.append(path.name) or real(path, *columns))
    assert len(shards(tmp_path)) > 2 and compact(tmp_path).runs and not shards(tmp_path)
    assert len(read) == 1 and set(by_key(tmp_path)) == set(lines)
