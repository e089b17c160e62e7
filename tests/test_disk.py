"""Full disks and unwritable places: the file is named, the rest is written; and files that a group can share."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dazoo.bench.records.store import NotStored, Writer, stored
from dazoo.bench.report import build as reports
from dazoo.bench.report.build import NotWritten
from dazoo.cli import app
from dazoo.core.errors import DazooError
from dazoo.core.files import opened, replacing, write_text
from dazoo.data.images import decode
from dazoo.engine.state import MARK, read_state, write_state
from dazoo.nets import frozen
from tests.bench_tools import accuracies, write_run

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A result folder of two methods."""
    writer = Writer(tmp_path / "made")
    for label, value in (("one", 0.5), ("two", 0.75)):
        write_run(writer, label, "toy/a->b", target=accuracies(value))
    writer.close()
    return tmp_path / "made"


class FullDisk:
    """``os.fsync`` fails, as on a full disk, for files whose names hold one of ``names``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str):
        self.names, self.fsync = names, os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
        if any(n in name for n in self.names):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.fsync(handle)


def test_a_report_names_what_it_cannot_write_and_writes_the_rest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {f.name: f.read_bytes() for f in reports.report(folder).folder.iterdir() if f.is_file()}
    old = "of an earlier report"
    for name in whole:
        (folder / name).write_text(old)
    FullDisk(monkeypatch, "leaderboard.md", "per_task.csv", "pareto.pdf")
    with pytest.raises(NotWritten, match=r"per_task.csv could not be written \(No space left") as caught:
        reports.report(folder)
    assert [row.label for row in caught.value.report.board.rows] == ["two", "one"]
    lost = {f.name for f in folder.iterdir() if f.is_file() and f.read_bytes() == old.encode()}
    assert lost == {"leaderboard.md", "per_task.csv"} | ({"pareto.pdf"} & set(whole))
    assert {n: (folder / n).read_bytes() for n in set(whole) - lost} == {n: whole[n] for n in set(whole) - lost}
    assert not list(folder.glob("*.tmp"))
    answer = CliRunner().invoke(app, ["report", str(folder)])
    assert isinstance(answer.exception, NotWritten), "which main shows and turns into exit 2"
    assert "two" in answer.output and "75.00" in answer.output
    monkeypatch.undo()
    reports.report(folder)
    assert {n: (folder / n).read_bytes() for n in whole} == whole


def test_a_folder_where_a_file_should_be_costs_that_file(folder: Path) -> None:
    (folder / "leaderboard.csv").mkdir()
    with pytest.raises(NotWritten, match=r"made/leaderboard\.csv could not be written \(Is a directory\); make room"):
        reports.report(folder)
    assert (folder / "leaderboard.html").is_file() and (folder / "leaderboard.md").is_file()


@pytest.mark.parametrize("at", ["open", "write", "fsync", "replace"])
def test_a_file_is_whole_or_as_it_was(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "deep" / "a.txt"
    write_text(place, "first")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if at != "write":
        monkeypatch.setattr(os, at, full)
    with pytest.raises(OSError, match="No space left") as caught, opened(place) as file:
        file.write(b"second")
        if at == "write":
            full()
    monkeypatch.undo()
    assert caught.value.filename == str(place)
    assert place.read_text() == "first" and [p.name for p in place.parent.iterdir()] == ["a.txt"]


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


@pytest.mark.parametrize("short", [True, False])
def test_a_record_that_does_not_fit_leaves_the_others(
    short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, write = Writer(tmp_path), os.write

    def full(handle: int, data: bytes) -> int:
        if short:
            return write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_run(writer, "one", "toy/a->b", target=accuracies(0.5))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NotStored, match="No space left on device; what is stored stays"):
        write_run(writer, "two", "toy/a->b", target=accuracies(0.5))
    monkeypatch.undo()
    write_run(writer, "three", "toy/a->b", target=accuracies(0.5))
    writer.close()
    found, damage = stored(tmp_path)
    assert len(found) == 2 and not damage.places


# -- states of training runs ----------------------------------------------------------------------------------------


def test_a_state_with_any_wrong_byte_is_none(tmp_path: Path) -> None:
    place = tmp_path / "state.pt"
    state = {"step": 3, "w": torch.arange(40.0)}
    assert write_state(place, state) == ""
    good = place.read_bytes()
    found = read_state(place, CPU)
    assert found is not None and found["step"] == 3 and torch.equal(found["w"], state["w"])
    for at in range(0, len(good), max(1, len(good) // 60)):
        place.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert read_state(place, CPU) is None and not place.exists()
    for data in (b"", good[:-1], good[: len(good) // 2], b"x" + MARK + b"%08x" % zlib.crc32(b"x")):
        place.write_bytes(data)
        assert read_state(place, CPU) is None and not place.exists()
    assert read_state(place, CPU) is None


def test_a_run_goes_on_where_its_state_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FullDisk(monkeypatch, "state.pt")
    said = write_state(tmp_path / "state.pt", {"w": torch.ones(3)})
    assert said.startswith("the state of the unfinished run could not be saved (No space left on device)")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert "could not be saved (File exists)" in write_state(tmp_path / "file" / "state.pt", {})


# -- sharing --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def test_files_have_the_permissions_that_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    decode([tmp_path / "a.png"], 4, cache=tmp_path / "cache" / "images")
    frozen.write(tmp_path / "cache" / "features" / "a.safetensors", torch.ones(2, 3))
    write_state(tmp_path / "cache" / "state" / "a.pt", {"step": 1})
    write_text(tmp_path / "cache" / "a.json", "{}")
    writer = Writer(tmp_path / "cache")
    write_run(writer, "one", "toy/a->b", target=accuracies(0.5))
    writer.close()
    made = [p for p in (tmp_path / "cache").rglob("*")]
    assert sum(p.is_file() for p in made) == 6
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_caches_that_cannot_be_written_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    FullDisk(monkeypatch, ".u8", ".safetensors")
    with pytest.raises(DazooError, match=r"cannot write the image cache .*No space left.* set DAZOO_CACHE"):
        decode([tmp_path / "a.png"], 4, cache=tmp_path / "cache")
    with pytest.raises(DazooError, match=r"cannot write the features .*No space left.* set DAZOO_CACHE"):
        frozen.write(tmp_path / "cache" / "a.safetensors", torch.ones(2, 3))
    assert list((tmp_path / "cache").iterdir()) == []
