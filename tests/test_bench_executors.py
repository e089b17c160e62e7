"""Executors: who takes part, what is done again, and records that do not depend on who did the work."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dazoo.bench.execute import remote
from dazoo.bench.execute.base import EXECUTORS, Executor, Outcome, Refusal, Setup, Unit
from dazoo.bench.execute.executor import execute
from dazoo.bench.execute.executors import _submitit, processes
from dazoo.bench.execute.place import Place
from dazoo.bench.execute.remote import Post, RemoteWorker
from dazoo.bench.execute.runner import Runner
from dazoo.bench.records.claims import Claims
from dazoo.bench.records.store import records
from dazoo.bench.suite_run import prepare
from dazoo.core.errors import DazooError, UnknownName
from tests.bench_tools import SMALL, plain_records

ONE = {**SMALL, "tasks": ["upright->rotated"], "seeds": 1}


class Fake(Executor):
    """Workers of this process, one unit each time; ``bad`` says what the worker of a token does instead."""

    remote = True
    made: list[Fake] = []

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self.queue: list[Unit] = []
        self.tokens = [f"w{i}" for i in range(setup.jobs)]
        self.told: list[str] = []
        Fake.made.append(self)

    @property
    def workers(self) -> int:
        return len(self.tokens)

    def free(self) -> int:
        return 1 if self.tokens and not self.queue else 0

    def submit(self, units: Sequence[Unit]) -> None:
        self.queue += units

    def wait(self, seconds: float) -> list[Outcome]:
        return [self.work(self.tokens[0], self.queue.pop())] if self.queue else []

    def work(self, token: str, unit: Unit) -> Outcome:
        runner = Runner(self.setup.place, self.setup.since, token)
        left = runner(unit.runs)
        runner.close()
        return Outcome(unit, tuple(left), token=token)

    def dismiss(self, token: str) -> None:
        self.tokens.remove(token)

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def executors() -> Iterator[None]:
    EXECUTORS.discover()
    before = dict(EXECUTORS._items)
    yield
    EXECUTORS._items.clear()
    EXECUTORS._items.update(before)


def run_with(work: type[Fake], out: Path, suite: dict[str, Any] = ONE, jobs: int = 2, **options: Any) -> list[str]:
    """What was told of a suite run by ``work``."""
    EXECUTORS._items["fake"] = work
    told: list[str] = []
    job = prepare(suite, out=out, device="cpu", executor="fake", jobs=jobs, **options)
    execute(job.missing, job.place, jobs, tell=told.append, since=job.since, executor="fake")
    return told


def run_alone(out: Path, suite: dict[str, Any] = ONE) -> dict[str, Any]:
    job = prepare(suite, out=out, device="cpu")
    execute(job.missing, job.place, since=job.since)
    return plain_records(out)


def test_a_run_that_kills_its_worker_twice_is_recorded_and_the_others_are_done(tmp_path: Path) -> None:
    class Dies(Fake):
        def work(self, token: str, unit: Unit) -> Outcome:
            runner = Runner(self.setup.place, self.setup.since, token)
            for spec in unit.runs:
                if spec.label == "coral":  # dead, and its claim as if it were of another machine
                    runner.claims.take([spec.key])
                    owner = tmp_path / "claims" / f"owner-{token}"
                    owner.write_text(owner.read_text().replace('"machine": "', '"machine": "other '))
                    return Outcome(unit, died=True, token=token)
                runner([spec])
            runner.close()
            return Outcome(unit, token=token)

    run_with(Dies, tmp_path)
    found = {r["spec"]["label"]: r for r in records(tmp_path)}
    assert set(found) == {"source_only", "coral", "sa"}
    assert found["coral"]["error"]["type"] == "WorkerDied"
    assert not (tmp_path / "claims").exists(), "what the dead held is free"


def test_who_refuses_takes_no_part_and_the_others_do_its_runs(tmp_path: Path) -> None:
    class Choosy(Fake):
        def work(self, token: str, unit: Unit) -> Outcome:
            why = Refusal("node w0", "it has no folder")
            return Outcome(unit, token=token, refused=why) if token == "w0" else super().work(token, unit)

    assert run_with(Choosy, tmp_path / "two") == ["node w0 takes no part: it has no folder"]
    assert plain_records(tmp_path / "two") == run_alone(tmp_path / "one")
    with pytest.raises(DazooError, match=r"no worker is left \(node w0: it has no folder\)"):
        run_with(Choosy, tmp_path / "none", jobs=1)
    assert not list(records(tmp_path / "none"))


def table(folder: Path, value: float = 2.0) -> dict[str, Any]:
    """A suite on a table below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{d},{v},{y}\n" for d in ("old", "new") for v, y in [(1.0, "a"), (value, "b")] * 6]
    (folder / "mine.csv").write_text("domain,x,y\n" + "".join(rows))
    data = {"name": "table", "path": "mine.csv", "label_column": "y"}
    return {**ONE, "dataset": data, "tasks": ["old->new"]}


class Elsewhere(Fake):
    """Workers as they are on other machines, which have the data root ``there``."""

    there = ""

    def work(self, token: str, unit: Unit) -> Outcome:
        place = replace(self.setup.place, data_root=self.there)
        worker = RemoteWorker(replace(Post.of(place, self.setup.since), token=token))
        outcome = worker.work(unit)
        assert worker._worker is not None
        worker._worker.runner.close()
        return outcome


def test_a_machine_without_the_data_says_so_and_records_nothing(tmp_path: Path) -> None:
    suite = table(tmp_path / "root")
    Elsewhere.there = str(tmp_path / "elsewhere")
    with pytest.raises(DazooError, match="which the command can") as found:
        run_with(Elsewhere, tmp_path / "out", suite, data_root=tmp_path / "root")
    assert str(tmp_path / "elsewhere") in str(found.value) and "--data-root" in str(found.value)
    assert not list(records(tmp_path / "out"))


def test_a_machine_with_other_data_says_so(tmp_path: Path) -> None:
    suite = table(tmp_path / "root")
    table(tmp_path / "elsewhere", 3.0)
    Elsewhere.there = str(tmp_path / "elsewhere")
    with pytest.raises(DazooError, match="its files of table are not those that the runs were planned on"):
        run_with(Elsewhere, tmp_path / "out", suite, data_root=tmp_path / "root")
    assert not list(records(tmp_path / "out"))


def test_data_that_nobody_can_read_fail_as_with_one_process(tmp_path: Path) -> None:
    suite = table(tmp_path / "root")
    EXECUTORS._items["fake"] = Elsewhere
    Elsewhere.there = str(tmp_path / "root")
    job = prepare(suite, out=tmp_path / "out", device="cpu", executor="fake", data_root=tmp_path / "root")
    (tmp_path / "root" / "mine.csv").unlink()
    execute(job.missing, job.place, 2, since=job.since, executor="fake")
    assert {r["status"] for r in records(tmp_path / "out")} == {"failed"} and len(list(records(tmp_path / "out"))) == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"version": "dazoo 0.0, Python 3.0"}, "and the command dazoo 0.0, Python 3.0; install the same there"),
     ({"seen": "claims/owner-x"}, "does not see the result folder")],
)  # fmt: skip
def test_a_worker_looks_where_it_is_before_it_begins(
    tmp_path: Path, change: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.0)
    post = replace(Post.of(Place(str(tmp_path)), {}), **change)
    outcome = RemoteWorker(post).work(Unit())
    assert outcome.refused is not None and sentence in outcome.refused.why and outcome.token == post.token
    claims = Claims(tmp_path)
    assert not replace(Post.of(Place(str(tmp_path)), {}, claims.begin())).problem()
    claims.close()


def test_runs_that_others_are_at_are_asked_for_again_only_when_they_are_free(tmp_path: Path) -> None:
    asked: list[int] = []

    class Counts(Fake):
        def work(self, token: str, unit: Unit) -> Outcome:
            asked.append(len(unit.runs))
            return super().work(token, unit)

        def wait(self, seconds: float) -> list[Outcome]:
            if len(asked) == 2 and other.held:  # both units have come back
                other.close()
            return super().wait(seconds)

    EXECUTORS._items["fake"] = Counts
    job = prepare({**ONE, "tasks": ["upright->rotated", "upright->noisy"]}, out=tmp_path, device="cpu")
    other = Claims(tmp_path)
    other.take([job.missing[0].key])
    told: list[str] = []
    execute(job.missing, job.place, 1, tell=told.append, since=job.since, executor="fake")
    assert sum(asked) == len(job.missing) + 1, asked
    assert len(plain_records(tmp_path)) == len(job.missing)


def test_small_units_share_jobs_and_the_longest_begins_first() -> None:
    units = [Unit((f"r{i}",)) for i in range(6)]  # type: ignore[arg-type]
    warm, trusted = Unit(domains=(("p", "d"),)), Unit(("x",), trusted=True)  # type: ignore[arg-type]
    jobs = _submitit.packed([*units, warm, trusted], [5, 1, 1, 1, 1, 1, 9, 9], limit=5)
    assert jobs[:2] == [warm, trusted]
    assert [j.runs for j in jobs[2:]] == [("r0",), ("r5", "r4", "r3", "r2", "r1")]
    assert len(_submitit.packed(units, [5, 1, 1, 1, 1, 1], limit=100)) == 1
    assert len(_submitit.packed(units, [9] * 6, limit=5)) == 6 and _submitit.packed([], [], 5) == []


def environment() -> tuple[str | None, str | None, str]:
    worker: Any = processes._worker
    return os.environ.get(processes.VISIBLE), os.environ.get("OMP_NUM_THREADS"), worker.runner.place.device


def test_every_worker_sees_its_own_device_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    job = prepare(ONE, out=tmp_path, device="cuda:0, cuda:2")
    assert job.jobs == 2 and job.place.devices == ("cuda:0", "cuda:2")
    places = [processes._of_slot(job.place, slot) for slot in range(3)]
    assert [p.device for p, _ in places] == ["cuda"] * 3 and [seen for _, seen in places] == ["0", "2", "0"]
    monkeypatch.setenv(processes.VISIBLE, "4,GPU-5f,7")
    place, seen = processes._of_slot(job.place, 1)
    assert seen == "7" and processes.visible("cuda:1", os.environ[processes.VISIBLE]) == "GPU-5f"
    worker = processes._Process(place, seen, {})
    try:
        assert worker.pool.submit(environment).result() == ("7", "1", "cuda")
    finally:
        worker.stop()
    assert processes._of_slot(replace(job.place, devices=("cpu", "cuda:1")), 0)[1] is None
    with pytest.raises(DazooError, match="this machine has cuda:0 to cuda:2"):
        prepare(ONE, out=tmp_path, device="cuda:0,cuda:3")


@pytest.mark.parametrize(
    ("executor", "options", "sentence"),
    [("rays", {}, "did you mean 'ray'"), ("processes", {"gpus": "1"}, "no option 'gpus'"),
     ("local", {"minutes": "many"}, "minutes=many: a number of minutes above 0"),
     ("slurm", {"mem_gb": "x"}, "mem_gb=x: a number is needed"), ("slurm", {"minute": "3"}, "did you mean 'minutes'"),
     ("ray", {"gpus:dan*": "-1"}, "gpus:dan.=-1: a number that is not negative")],
)  # fmt: skip
def test_what_an_executor_cannot_make_sense_of_is_said(
    tmp_path: Path, executor: str, options: dict[str, str], sentence: str
) -> None:
    with pytest.raises((DazooError, UnknownName), match=sentence):
        prepare(ONE, out=tmp_path, device="cpu", executor=executor, options=options)


def test_an_actor_reserves_what_its_method_needs(tmp_path: Path) -> None:
    from dazoo.bench.execute.executors import ray

    options = {"address": "here:1", "gpus": "0.25", "gpus:source_*": "0", "memory:sa": "2", "cpus": "2"}
    job = prepare(ONE, out=tmp_path, device="cpu")
    workers = object.__new__(ray.Ray)
    workers.setup = Setup(replace(job.place, device="cuda"), 2, {}, options)
    needs = {s.label: workers.kind(s) for s in job.missing}
    assert needs["source_only"] == ray.Needs(2.0, 0.0, 0.0) and needs["coral"] == ray.Needs(2.0, 0.25, 0.0)
    assert needs["sa"] == ray.Needs(2.0, 0.25, 2.0)
    workers.setup = Setup(job.place, 2, {}, {})
    assert workers.kind(job.missing[0]) == ray.Needs(1.0, 0.0, 0.0)
    workers.setup = replace(workers.setup, place=replace(job.place, device="cuda"))
    assert workers.kind(job.missing[0]) == ray.Needs(1.0, 1.0, 0.0)


def test_an_address_where_nobody_listens_is_said_at_once() -> None:
    from dazoo.bench.execute.executors.ray import reach

    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        with pytest.raises(DazooError, match=r"no Ray cluster answers at 127\.0\.0\.1:"):
            reach(f"127.0.0.1:{mine.getsockname()[1]}")
        mine.listen()
        reach(f"127.0.0.1:{mine.getsockname()[1]}")
    reach("auto")


def test_workers_of_other_machines_find_their_device_there(tmp_path: Path) -> None:
    EXECUTORS._items["fake"] = Fake
    assert prepare(ONE, out=tmp_path, device="cuda", executor="fake").place.device == "cuda"
    with pytest.raises(DazooError, match="name one kind"):
        prepare(ONE, out=tmp_path, device="cuda:0,cuda:1", executor="fake")
