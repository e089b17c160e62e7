"""Workers on other machines: what they are told, and what they look at before they begin.

A worker that lacks what the command has must not record failures: it refuses, and says what is missing and where. What
nobody can read, the command included, is for the record, as it is with one process.

Importing this module loads neither numpy nor torch.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dazoo.bench.execute.base import Outcome, Refusal, Unit
from dazoo.bench.records.remote import has, is_remote
from dazoo.core.errors import DazooError
from dazoo.core.version import VERSION

if TYPE_CHECKING:
    from dazoo.bench.execute.place import Place
    from dazoo.bench.execute.worker import Worker
    from dazoo.bench.plan.plan import RunSpec
    from dazoo.bench.plan.protocol import Protocol

PATIENCE = 10.0
"""Seconds after which a file that one machine wrote is seen by another, if they share the folder at all."""


def from_anywhere(place: Place) -> Place:
    """``place`` with folders that do not depend on where a process stands or on its environment."""
    from dazoo.data.registry import data_root

    root = data_root(place.data_root)
    out = place.out if is_remote(place.out) else str(Path(place.out).resolve())
    return replace(place, out=out, data_root=str(root.resolve()))


@dataclass(frozen=True)
class Post:
    """What a worker elsewhere is told.

    Attributes:
        since: sizes of the shards when the runs were planned. token: names its claims.
        seen: name of a file in the result folder by which a worker knows that it is the same folder; empty where that
            is known.
        version: of dazoo and Python. folder: where the command stands, for options that are relative paths.
    """

    place: Place
    since: dict[str, int]
    token: str
    seen: str = ""
    version: str = ""
    folder: str = ""

    @staticmethod
    def of(place: Place, since: dict[str, int], seen: str = "") -> Post:
        """With a token of its own."""
        return Post(place, since, secrets.token_hex(6), seen, _version(), os.getcwd())

    def problem(self) -> str:
        """Why nothing can be done here, in a sentence; empty where it can."""
        if _version() != self.version:
            return f"it has {_version()} and the command {self.version}; install the same there"
        end = time.monotonic() + PATIENCE
        while self.seen and not has(self.place.out, self.seen):
            if time.monotonic() > end:
                return (
                    f"it does not see the result folder {self.place.out} of the command; "
                    "name a folder that all machines share with --out"
                )
            time.sleep(0.2)
        return ""


def _version() -> str:
    return f"dazoo {VERSION}, Python {platform.python_version()}"


class RemoteWorker:
    """Does units on another machine; ready at once, and with torch from the first unit on."""

    def __init__(self, post: Post):
        self.post = post
        self.node = socket.gethostname()
        self._worker: Worker | None = None
        self._same: set[str] = set()
        if post.folder and os.path.isdir(post.folder):
            os.chdir(post.folder)

    def about(self) -> tuple[str, int]:
        """Machine and process."""
        return self.node, os.getpid()

    def work(self, unit: Unit) -> Outcome:
        """What became of ``unit``; the outcome holds what is left of it alone."""
        problem = self.begin()
        if problem:
            return Outcome(unit, token=self.post.token, refused=Refusal(self.node, problem))
        assert self._worker is not None
        left: list[RunSpec] = list(self._worker(replace(unit, runs=())))
        tasks = _by_task(unit)
        for i, runs in enumerate(tasks):
            refused = None if unit.trusted else self._lacks(runs[0])
            if refused is not None:
                rest = tuple(spec for later in tasks[i:] for spec in later)
                return Outcome(
                    replace(unit, runs=rest, domains=()), tuple(left), token=self.post.token, refused=refused
                )
            left += self._worker(Unit(tuple(runs)))
        return Outcome(replace(unit, runs=(), domains=()), tuple(left))

    def begin(self) -> str:
        """Load what computes; why that cannot be, in a sentence."""
        if self._worker is not None:
            return ""
        problem = self.post.problem()
        if problem:
            return problem
        from dazoo.bench.execute.worker import Worker
        from dazoo.engine.device import require_device

        try:
            place = replace(self.post.place, device=require_device(self.post.place.device))
            self._worker = Worker(place, self.post.since, self.post.token)
        except DazooError as error:
            return str(error)
        return ""

    def _lacks(self, spec: RunSpec) -> Refusal | None:
        """Which data of a run are not here, or not what the run was planned on."""
        from dazoo.data.names import split_name, targets_of
        from dazoo.data.registry import data_root

        assert self._worker is not None
        protocol, tasks = spec.protocol, self._worker.runner.tasks
        root = data_root(tasks.data_root)
        try:
            tasks(spec)
            return self._other_files(protocol, root)
        except (DazooError, OSError):
            pass  # the data themselves, or what the run makes of them
        _, sources, target = split_name(spec.task)
        for name in (*sources, *targets_of(target)):
            try:
                tasks.load(protocol, name)
            except (DazooError, OSError) as error:
                why = f"it cannot read {protocol.dataset}/{name}, which the command can: {error}"
                why += f" (data root {root}; --data-root names one that all machines share)"
                return Refusal(self.node, why, (protocol, name))
        return None

    def _other_files(self, protocol: Protocol, root: Path) -> Refusal | None:
        """Whether files that results depend on are others here."""
        from dazoo.data.registry import DATASETS

        content = DATASETS.get(protocol.dataset).content
        if content is None or protocol.content is None or protocol.content in self._same:
            return None
        if content(root, **protocol.options) != protocol.content:
            why = f"its files of {protocol.dataset} are not those that the runs were planned on (data root {root})"
            return Refusal(self.node, f"{why}; copy them again, or share the folder")
        self._same.add(protocol.content)
        return None


def _by_task(unit: Unit) -> list[list[RunSpec]]:
    """The runs of a unit in the order in which they are done, those of a task together."""
    if not unit.runs:
        return []
    from dazoo.bench.execute.grouping import in_order

    found: list[list[RunSpec]] = []
    for spec in in_order(unit.runs):
        if not found or found[-1][0].task != spec.task:
            found.append([])
        found[-1].append(spec)
    return found
