"""Jobs of a queue through submitit: each does many units, since a job takes longer to begin than most runs take.

Units are packed into jobs by what earlier records say that they take. A job that is preempted or out of time queues
again and goes on from the states and records of the result folder; one that dies is looked at by the command, as a
worker process is. Jobs outlive a command that is killed: the next command shares the runs with them.
"""

from __future__ import annotations

import heapq
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from dazoo.bench.execute.base import Executor, Outcome, Refusal, Setup, Unit
from dazoo.bench.execute.remote import Post, RemoteWorker, from_anywhere
from dazoo.bench.records.remote import is_remote
from dazoo.core.errors import DazooError

FOLDER = "jobs"
MINUTES = 30.0
TRIES = 2
LEAST = 60.0
"""Seconds of expected work below which a job is not worth its start."""
MORE = 4.0
"""How much longer than expected a job may take before it has to queue again."""


@dataclass(frozen=True)
class Chunk:
    """What a job does."""

    post: Post
    unit: Unit
    folder: str

    @property
    def mark(self) -> Path:
        """A file that says that the job has begun: before that, no run can be why it died."""
        return Path(self.folder) / f"begun-{self.post.token}"

    def __call__(self) -> Outcome:
        worker = RemoteWorker(self.post)
        if not worker.begin():
            self.mark.touch()
        return worker.work(self.unit)

    def checkpoint(self) -> Any:
        """Asked when the job has to go: the same again, which passes over what is recorded by then."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitit(Executor):
    """Jobs that submitit submits to ``cluster``."""

    cluster: ClassVar[str]
    remote = queues = True
    options: ClassVar[Mapping[str, str]] = {
        "minutes": f"of expected work in a job ({MINUTES:g})",
        "folder": "that all nodes share, where jobs are handed over (in the result folder)",
        "time": f"minutes after which a job has to queue again ({MORE:g} times that, an hour at least)",
    }

    def __init__(self, setup: Setup):
        import submitit

        super().__init__(replace(setup, place=from_anywhere(setup.place)))
        self._nodes: dict[str, str] = {}
        self._refused: list[str] = []
        post = self._post()
        self._folder = self._handed_over() / post.token
        self._queue = submitit.AutoExecutor(folder=self._folder / "%j", cluster=self.cluster)
        self._queue.update_parameters(timeout_min=self.timeout, **self.parameters())
        self._jobs: list[tuple[Any, Chunk]] = []
        self._well, self._early = True, 0

    @classmethod
    def check(cls, options: Mapping[str, str]) -> None:
        super().check(options)
        for name in ("minutes", "time"):
            if name in options and not _positive(options[name]):
                raise DazooError(f"--with {name}={options[name]}: a number of minutes above 0 is needed")
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise DazooError("this executor needs submitit: pip install 'dazoo[slurm]'") from error

    def _handed_over(self) -> Path:
        """Where jobs and nodes find each other."""
        if "folder" in self.setup.options:
            return Path(self.setup.options["folder"]).resolve()
        if is_remote(self.setup.place.out) and self.cluster != "local":
            raise DazooError(
                f"jobs are handed over in files: with results in {self.setup.place.out}, name a folder that all nodes "
                "share as --with folder=/shared/jobs"
            )
        return self.setup.place.folder / FOLDER

    def parameters(self) -> dict[str, Any]:
        """What else submitit is told."""
        return {}

    @property
    def minutes(self) -> float:
        return float(self.setup.options.get("minutes", MINUTES))

    @property
    def timeout(self) -> int:
        """Minutes that a job may take."""
        return max(1, round(float(self.setup.options.get("time", max(60.0, MORE * self.minutes)))))

    @property
    def workers(self) -> int:
        return max(0, self.setup.jobs - len(self._refused))

    def pack(self, units: Sequence[Unit]) -> list[Unit]:
        from dazoo.bench.execute.schedule import Splitting
        from dazoo.bench.plan.costs import Costs

        place = self.setup.place
        timed = Splitting(Costs.read(place.folder), 1, place.group)
        seconds = [timed.seconds(list(unit.runs)) for unit in units]
        return packed(units, seconds, min(60 * self.minutes, max(LEAST, sum(seconds) / max(1, self.workers))))

    def submit(self, units: Sequence[Unit]) -> None:
        chunks = [Chunk(self._post(), unit, str(self._folder)) for unit in units]
        try:
            jobs = self._queue.submit_array(chunks)
        except Exception as error:
            raise DazooError(f"no job could be submitted: {' '.join(str(error).split())[:300]}") from error
        self._jobs += list(zip(jobs, chunks))

    def wait(self, seconds: float) -> list[Outcome]:
        end = time.monotonic() + seconds
        while not (done := [entry for entry in self._jobs if entry[0].done()]) and time.monotonic() < end:
            time.sleep(0.05)
        self._jobs = [entry for entry in self._jobs if entry not in done]
        return [self._ended(job, chunk) for job, chunk in done]

    def _ended(self, job: Any, chunk: Chunk) -> Outcome:
        error = job.exception()
        if error is None:
            outcome: Outcome = job.result()
            self._early = 0
            if outcome.refused is not None:
                self._nodes[outcome.token] = outcome.refused.node
            return outcome
        self._well = False
        if "UncompletedJobError" in f"{type(error).__name__} {error}":  # killed, or out of time again and again
            return self._died(job, chunk)
        last = str(error).strip().splitlines()[-1]
        raise DazooError(f"job {job.job_id} failed: {last}; its log lies in {job.paths.folder}")

    def _died(self, job: Any, chunk: Chunk) -> Outcome:
        if chunk.mark.exists():
            return Outcome(chunk.unit, died=True, token=chunk.post.token)
        self._early += 1
        if self._early <= TRIES * self.workers:
            return Outcome(chunk.unit, died=True, begun=False, token=chunk.post.token)
        why = f"it died before it began, as others did; its log lies in {job.paths.folder}"
        return Outcome(chunk.unit, token=chunk.post.token, refused=Refusal(f"job {job.job_id}", why))

    def dismiss(self, token: str) -> None:
        self._refused.append(self._nodes.get(token, ""))
        self._queue.update_parameters(**self.parameters())

    def close(self) -> None:
        for job, _ in self._jobs:
            with suppress(Exception):
                job.cancel()
        if self._well and not self._jobs:  # logs are for what went wrong
            shutil.rmtree(self._folder, ignore_errors=True)
            if "folder" not in self.setup.options:
                with suppress(OSError):
                    self._folder.parent.rmdir()

    def _post(self) -> Post:
        return Post.of(self.setup.place, self.setup.since)


def packed(units: Sequence[Unit], seconds: Sequence[float], limit: float) -> list[Unit]:
    """``units`` put together into as few as take ``limit`` expected seconds each, the longest first to the emptiest;
    those that say more than which runs are left alone."""
    alone = [u for u in units if u.domains or u.trusted]
    found = sorted(((s, i) for i, (u, s) in enumerate(zip(units, seconds)) if u not in alone), reverse=True)
    if not found:
        return alone
    n = min(len(found), max(1, round(sum(s for s, _ in found) / limit + 0.499)))
    heap: list[tuple[float, int, list[int]]] = [(0.0, i, []) for i in range(n)]
    for spent, i in found:
        total, k, held = heapq.heappop(heap)
        heapq.heappush(heap, (total + spent, k, [*held, i]))
    jobs = sorted(heap, key=lambda job: -job[0])
    return alone + [Unit(tuple(spec for i in held for spec in units[i].runs)) for _, _, held in jobs]


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
