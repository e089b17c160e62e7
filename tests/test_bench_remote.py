"""Result folders on object stores: appended as new objects, claimed without locks, resumed, read from anywhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dazoo.bench.execute.base import Setup
from dazoo.bench.execute.place import Place
from dazoo.bench.execute.runner import Runner
from dazoo.bench.records.remote import Remote, filesystem, is_remote, mirror_of, normal
from dazoo.bench.records.remote_claims import RemoteClaims
from dazoo.bench.records.store import Writer, records, stored
from dazoo.bench.records.stores import at_hand, store_of
from dazoo.bench.suite_run import carry_out, prepare, run_suite
from dazoo.cli import app
from dazoo.core.errors import DazooError
from tests.bench_tools import SMALL, accuracies, write_run

pytest.importorskip("fsspec")
ONE = SMALL | {"tasks": ["upright->rotated"], "methods": ["source_only", "coral"], "seeds": 1, "keep": "0"}


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place on a store."""
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/store"


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """From now on this is another machine: its mirrors are empty."""
    monkeypatch.setenv("DAZOO_CACHE", str(tmp_path / name))


def objects(url: str) -> list[str]:
    fs, root = filesystem(normal(url))
    return sorted(p[len(root) :].lstrip("/") for p in (str(p) for p in fs.find(root)))


def test_addresses_and_paths_are_told_apart() -> None:
    assert normal(Path("s3://bucket/a/b")) == "s3://bucket/a/b" and normal("memory://x/") == "memory://x"
    assert normal(Path("file:///tmp/x")) == "file:///tmp/x" == normal("file:///tmp/x")
    assert not any(map(is_remote, ("results/a", "C:/results", "C:\\results", "/a:b/c", Path("a"))))
    assert mirror_of("s3://a/b") != mirror_of("s3://a/c")


def test_a_suite_on_a_store_runs_once_and_is_read_from_elsewhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = run_suite(ONE, out=url, device="cpu")
    names = objects(url)
    assert any(n.startswith("records/shard-") for n in names) and "leaderboard.html" in names and "suite.yaml" in names
    assert not any(n.startswith(("claims/", "cache/", "state/", "mirror")) for n in names)
    elsewhere(monkeypatch, tmp_path, "other")
    job = prepare(ONE, out=url, device="cpu")
    assert job.missing == [] and len(job.plan.specs) == 2
    more = prepare(ONE | {"methods": ["source_only", "coral", "sa"]}, out=url, device="cpu")
    assert [s.label for s in more.missing] == ["sa"]
    made = carry_out(more)
    plain = run_suite(ONE, out=tmp_path / "plain", device="cpu")
    for cell in here.board.cells:
        assert made.board.cells[cell].values.tolist() == plain.board.cells[cell].values.tolist()
    assert sorted(r["key"] for r in records(more.place.folder)) == sorted(s.key for s in more.plan.specs)


def test_each_flush_is_an_object_and_none_is_changed(url: str) -> None:
    writer = store_of(url).writer()
    sizes: dict[str, int] = {}
    for seed in range(3):
        write_run(writer, "a", "t/x->y", seed, target=accuracies(0.5))
        assert not set(Remote(url).listed("records")) - set(sizes), "what is not flushed is nowhere yet"
        writer.sync()
        now = Remote(url).listed("records")
        assert len(now) == seed + 1 and sizes.items() <= now.items()
        sizes = now
    writer.close()
    assert Remote(url).listed("records") == sizes


def test_what_a_killed_process_did_not_send_is_sent_by_the_next(url: str, tmp_path: Path) -> None:
    job = prepare(ONE, out=url, device="cpu")
    runner = Runner(job.place, job.since)
    runner.writer = Writer(job.place.folder)  # one that never sends: its process dies first
    runner(job.missing[:1])
    runner.close()
    assert objects(url) == []
    again = prepare(ONE, out=url, device="cpu")
    assert again.missing == job.missing[1:]
    carry_out(again)
    sent = "".join(filesystem(normal(url))[0].cat_file(f"{Remote(url).root}/{n}").decode() for n in objects(url)
                   if n.startswith("records/"))  # fmt: skip
    assert sorted(json.loads(line)["key"] for line in sent.splitlines()) == sorted(s.key for s in job.missing)


def test_a_run_is_claimed_by_one_and_claims_of_the_dead_are_free(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(url)
    first, second = RemoteClaims(remote), RemoteClaims(remote)
    assert first.take(["0a", "0b"]) == {"0a", "0b"} == first.take(["0a", "0b"])
    assert second.take(["0a", "0b", "0c"]) == {"0c"}
    assert second.alive("0a") and second.holder("0a").startswith(f"process {os.getpid()} on ")
    first.release(["0a"])
    assert second.take(["0a", "0b"]) == {"0a"} and first.held == {"0b"}
    owner = first._owner(first.token)
    told = json.loads(remote.fs.cat_file(owner)) | {"born": "long ago"}
    remote.fs.pipe_file(owner, json.dumps(told).encode())
    if sys.platform == "linux":
        assert not second.alive("0b") and second.take(["0b"]) == {"0b"}
    third = RemoteClaims(remote, "third")
    third.take(["0d"])
    second.bury("third")
    assert second.take(["0d"]) == {"0d"}
    for claims in (first, second, third):
        claims.close()
    assert [n for n in objects(url) if n.startswith("claims/")] == []


def test_of_two_at_the_same_moment_at_most_one_has_the_run(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = RemoteClaims(Remote(url)), RemoteClaims(Remote(url))
    inner, had = first._tokens, []

    def meanwhile(key: str) -> list[str]:  # the other claims between our writing and our looking
        had.append(second.take([key]))
        return inner(key)

    monkeypatch.setattr(first, "_tokens", meanwhile)
    assert first.take(["0a"]) == {"0a"} and had == [set()]
    first.close()
    second.close()


def test_compacted_on_one_machine_and_known_on_the_others(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        writer = store_of(url).writer()
        write_run(writer, "a", "t/x->y", seed, target=accuracies(0.5))
        writer.close()
    with at_hand(url):
        pass
    elsewhere(monkeypatch, tmp_path, "other")
    told = CliRunner().invoke(app, ["compact", url])
    assert told.exit_code == 0, told.output
    (part,) = [n for n in objects(url) if n.startswith("records/")]
    assert part.endswith(".parquet")
    elsewhere(monkeypatch, tmp_path, "cache")
    with at_hand(url) as folder:
        assert [p.suffix for p in (folder / "records").iterdir()] == [".parquet"]
        assert len(stored(folder)[0]) == 2
    assert [n for n in objects(url) if n.startswith("records/")] == [part], "nothing comes back"


def test_what_is_missing_or_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DazooError, match="is no address that fsspec knows"):
        filesystem("nonsense://a")
    import fsspec

    def absent(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(DazooError, match=r"s3:// needs a package that is not installed: Install s3fs to access S3"):
        filesystem("s3://bucket/a")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DazooError, match=r"needs the package fsspec; pip install 'dazoo\[remote\]'"):
        filesystem("s3://bucket/a")


def test_jobs_whose_results_go_to_a_store_are_handed_over_in_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from dazoo.bench.execute.executors.local import Local
    from dazoo.bench.execute.executors.slurm import Slurm

    place = Place(f"file://{tmp_path}/store")
    with pytest.raises(DazooError, match="name a folder that all nodes share as --with folder="):
        Slurm(Setup(place, 2, {}))
    assert Local(Setup(place, 2, {}))._folder.parent == place.folder / "jobs", "the mirror is on this machine"
    named = Local(Setup(place, 2, {}, {"folder": str(tmp_path / "jobs")}))
    assert named._folder.parent == tmp_path / "jobs"
    named.close()
    assert list((tmp_path / "jobs").iterdir()) == [], "the folder itself is the user's"
