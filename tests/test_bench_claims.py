"""Several ``dazoo run`` on one folder: nothing twice, nothing lost, and the dead hold nobody up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dazoo.bench.execute.executor import execute, waiting_for
from dazoo.bench.execute.runner import Runner
from dazoo.bench.records.claims import EXPIRE, Claims
from dazoo.bench.records.store import records, stored
from dazoo.bench.suite_run import prepare
from tests.bench_tools import SMALL

KEYS = ["0a", "0b", "0c"]
DIES = (
    "import os, sys; from dazoo.bench.records.claims import Claims; "
    "print(Claims(sys.argv[1]).take(['0a', '0b']), flush=True); os._exit(9)"
)


def die_at(folder: Path, wait: bool = True) -> subprocess.Popen[bytes]:
    """A process that claims two runs and dies; without ``wait`` it stays as a zombie."""
    dead = subprocess.Popen([sys.executable, "-c", DIES, str(folder)], stdout=subprocess.PIPE)
    assert dead.stdout is not None and "0a" in dead.stdout.read().decode()  # the end of the output is its death
    if wait:
        dead.wait()
    return dead


@pytest.mark.parametrize("links", [True, False])
def test_a_run_has_one_owner_until_it_is_released(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.take(KEYS[:2]) == set(KEYS[:2]) and first.take(KEYS[:1]) == set(KEYS[:1])
    assert second.take(KEYS) == {KEYS[2]}
    assert second.holder(KEYS[0]).startswith(f"process {os.getpid()} on ") and second.alive(KEYS[0])
    first.release(KEYS[:1])
    assert second.take(KEYS) == {KEYS[0], KEYS[2]}
    first.close()
    second.close()
    assert not (tmp_path / "claims").exists()


@pytest.mark.parametrize("links", [True, False])
def test_a_claim_that_took_the_place_of_a_stale_one_is_put_back(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    first, second = Claims(tmp_path), Claims(tmp_path)
    assert first.take(KEYS[:1]) and second.begin()
    second._remove(tmp_path / "claims" / KEYS[0], {"token": "somebody who held it before"})
    assert second.taken(KEYS) == {KEYS[0]} and second.take(KEYS[:1]) == set()
    second.bury(first.token)
    assert second.take(KEYS[:1]) == {KEYS[0]}, "the owner is known to be dead"
    second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="zombies and times of birth are read from /proc")
@pytest.mark.parametrize("wait", [True, False])
def test_claims_of_the_dead_are_free_at_once(tmp_path: Path, wait: bool) -> None:
    dead = die_at(tmp_path, wait)
    claims = Claims(tmp_path)
    assert not claims.alive("0a")
    assert claims.take(KEYS) == set(KEYS)
    dead.wait()
    claims.close()
    assert not (tmp_path / "claims").exists(), "what the dead left is swept up"


@pytest.mark.parametrize(("age", "free"), [(EXPIRE + 60, True), (EXPIRE - 60, False)])
def test_claims_of_other_machines_expire_by_the_clock_of_the_file_system(
    tmp_path: Path, age: float, free: bool
) -> None:
    other = Claims(tmp_path)
    other.take(KEYS[:1])
    told = json.loads(other.owner.read_text()) | {"machine": "elsewhere", "pid": 1}
    other.owner.write_text(json.dumps(told))
    now = other.owner.stat().st_mtime
    os.utime(tmp_path / "claims" / KEYS[0], (now - age, now - age))
    claims = Claims(tmp_path)
    assert (claims.take(KEYS[:1]) == set(KEYS[:1])) is free


def test_an_empty_claim_belongs_to_somebody_until_it_expires(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    path = tmp_path / "claims" / KEYS[0]
    path.write_text("")
    claims = Claims(tmp_path)
    assert claims.take(KEYS[:1]) == set()
    os.utime(path, (1.0, 1.0))
    assert claims.take(KEYS[:1]) == set(KEYS[:1])


def test_what_others_are_at_comes_back_and_what_they_recorded_is_not_run(tmp_path: Path) -> None:
    job = prepare(SMALL | {"tasks": ["upright->rotated"]}, out=tmp_path, device="cpu")
    mine, theirs = job.missing[1:], job.missing[:1]
    other = Runner(job.place, job.since)
    other.claims.take([theirs[0].key])
    runner, seen = Runner(job.place, job.since), []
    left = runner(job.missing, lambda spec: seen.append(spec.key))
    assert left == theirs and sorted(seen) == sorted(s.key for s in mine)
    assert "the last 1 run is being done by another dazoo run (process" in waiting_for(left, job.place)
    other.claims.release([theirs[0].key])
    assert other(theirs) == []
    assert runner(left, lambda spec: seen.append(spec.key)) == [] and seen[-1] == theirs[0].key
    runner.close()
    other.close()
    assert sorted(r["key"] for r in records(tmp_path)) == sorted(s.key for s in job.missing)
    assert not (tmp_path / "claims").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_was_recorded_after_planning_is_not_run_again(tmp_path: Path, jobs: int) -> None:
    first = prepare(SMALL | {"seeds": 1}, out=tmp_path, device="cpu")
    second = prepare(SMALL | {"seeds": 1}, out=tmp_path, device="cpu")
    execute(first.missing, first.place, since=first.since)
    done: list[int] = []
    execute(second.missing, second.place, jobs, done.append, since=second.since)
    assert sum(done) == len(second.missing)
    assert len(list(records(tmp_path))) == len(first.missing) == len(stored(tmp_path)[0])
