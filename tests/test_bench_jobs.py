"""Jobs of a queue, by submitit's processes of this machine: killed, told to go, and done all the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dazoo.bench.execute.executor import execute
from dazoo.bench.suite_run import prepare
from dazoo.methods.base import METHODS
from tests import fates
from tests.bench_tools import plain_records

pytest.importorskip("submitit", reason="the extra slurm is not installed")


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    METHODS.discover()
    before = dict(METHODS._items)
    yield
    METHODS._items.clear()
    METHODS._items.update(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fate", [(signal.SIGKILL,), pytest.param((signal.SIGKILL, signal.SIGUSR2), marks=pytest.mark.cluster)]
)
def test_a_job_that_is_killed_or_told_to_go_loses_nothing_and_does_nothing_twice(
    tmp_path: Path, fate: tuple[signal.Signals, ...]
) -> None:
    chosen = ["source_only", "coral", fates.fateful(tmp_path, *fate)]
    job = prepare(fates.suite(), out=tmp_path / "jobs", methods=chosen, device="cpu", executor="local")
    assert len(job.missing) == 9
    done: list[int] = []
    execute(job.missing, job.place, 1, done.append, since=job.since, executor="local")
    logs = list((tmp_path / "jobs" / "jobs").rglob("*_log.out"))
    assert len(logs) == 2 and sum("Requeued job" in log.read_text() for log in logs) == len(fate) - 1
    alone = prepare(fates.suite(), out=tmp_path / "alone", methods=chosen, device="cpu")
    execute(alone.missing, alone.place, since=alone.since)
    assert plain_records(tmp_path / "jobs") == plain_records(tmp_path / "alone")
    assert sum(done) == 9 and not (tmp_path / "jobs" / "claims").exists()
