"""Random damage to a result folder: every command ends in 0 or 2, and a rerun restores the tables."""

from __future__ import annotations

import json
import random
import shutil
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.execute.rescore import rescore
from dazoo.bench.report.build import report
from dazoo.bench.report.canvas import Figure
from dazoo.bench.suite_run import run_suite
from dazoo.cli import main
from tests.bench_tools import SMALL

SUITE: dict[str, Any] = {**SMALL, "methods": ["source_only", "coral"], "tasks": ["upright->rotated"]}
LEDGER = [
    {"dataset": "digits", "representation": "raw", "method": "CORAL", "runs": [{"suite": "small", "label": "coral"}],
     "average": 0.5, "within": 1.0, "reported_in": "none"},
]  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, -1, 10**30, 1.5, "", "\ud800", "a\nb", [], [[]], {}, {"x": []}, "2024", [None] * 3, -1e308,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "small"
    run_suite(SUITE, out=folder)
    rescore(folder, ["silhouette"])
    report(folder)
    (folder.parent / "ledger.yaml").write_text(json.dumps(LEDGER))
    (folder.parent / "published.csv").write_text("dataset,representation,method,source,target,accuracy\n")
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without drawing figures for papers."""
    monkeypatch.setattr(Figure, "save", lambda self, folder: [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def commands(folder: Path) -> dict[str, list[str]]:
    path, beside = str(folder), folder.parent
    ledger = ["--rows", str(beside / "ledger.yaml"), "--published", str(beside / "published.csv")]
    return {
        "report": ["report", path],
        "report last": ["report", path, "--select-by", "last"],
        "compare": ["compare", path, "coral", "source_only"],
        "diff": ["diff", path, path],
        "rescore": ["rescore", path, "--validators", "silhouette,entropy", "--again"],
        "cite": ["cite", path],
        "ledger": ["ledger", path, *ledger],
    }


def called(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command; any other end of it is an error of this test."""
    monkeypatch.setattr(sys, "argv", ["dazoo", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_whole_folder_suits_every_command(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(whole, tmp_path)
    for name, arguments in commands(folder).items():
        assert called(arguments, monkeypatch) == 0, name


# -- damages ------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all parts of plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


def changed(data: Any, rng: random.Random) -> Any:
    """Plain data with one part dropped, or replaced by something odd."""
    data = json.loads(json.dumps(data))
    path = rng.choice(places(data)[1:])
    outer = data
    for step in path[:-1]:
        outer = outer[step]
    if rng.random() < 0.4:
        del outer[path[-1]]
    else:
        outer[path[-1]] = rng.choice(ODD)
    return data


def bytes_in(file: Path, rng: random.Random) -> None:
    """Flip, cut or insert."""
    data, at = file.read_bytes(), rng.randrange(max(1, file.stat().st_size))
    kind = rng.randrange(3)
    tail = (bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :], b"", rng.randbytes(5) + data[at:])[kind]
    file.write_bytes(data[:at] + tail)


def value_in_record(file: Path, rng: random.Random) -> None:
    """A record of another shape, with a checksum that fits or without one."""
    lines = file.read_bytes().splitlines(True)
    i = rng.randrange(len(lines))
    record = json.loads(lines[i])
    record.pop("crc", None)
    head = {k: record[k] for k in ("format", "key", "status")}
    body = json.dumps({**head, **changed(record, rng)}, separators=(",", ":"))
    checksum = f',"crc":"{zlib.crc32(body[:-1].encode()):08x}"}}'
    lines[i] = (body[:-1] + checksum if rng.random() < 0.5 else body).encode() + b"\n"
    file.write_bytes(b"".join(lines))


def value_in_json(file: Path, rng: random.Random) -> None:
    file.write_text(json.dumps(rng.choice([changed(json.loads(file.read_text()), rng), rng.choice(ODD)])))


def place_of(file: Path, rng: random.Random) -> None:
    """A folder where a file was, or nothing."""
    file.unlink()
    if rng.random() < 0.5:
        file.mkdir()


def copied(whole: Path, place: Path) -> Path:
    shutil.copytree(whole.parent, place / "copy")
    return place / "copy" / whole.name


def damage(folder: Path, rng: random.Random) -> tuple[str, bool]:
    """What was done, and whether a record may say something else now that can be true."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".jsonl", ".json", ".yaml", ".npz"))
    file = rng.choice(files)
    others = {".jsonl": [value_in_record] * 3, ".json": [value_in_json] * 3}.get(file.suffix, [])
    way = rng.choice([bytes_in, place_of, *others])
    way(file, rng)
    return f"{way.__name__} of {file.relative_to(folder)}", way is value_in_record


@pytest.mark.parametrize("seed", range(40))
def test_every_command_survives(seed: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    folder = copied(whole, tmp_path)
    what, forged = damage(folder, rng)
    every = commands(folder)
    for name in ["report", *rng.sample(sorted(every.keys() - {"report"}), 2)]:
        assert called(every[name], monkeypatch) in (0, 2), (what, name)
    if not forged:
        for name in ("plan.json", "environment.json", "scatter.json", "suite.yaml"):
            shutil.rmtree(folder / name, ignore_errors=True)  # a folder is no file that a rerun could replace
        run_suite(SUITE, out=folder)
        assert (folder / "per_task.csv").read_bytes() == (whole / "per_task.csv").read_bytes(), what
