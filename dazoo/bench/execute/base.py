"""What an executor is: units of runs go in, outcomes come out.

Adding one touches one file: a class below ``dazoo.bench.execute.executors`` under ``@register``, or one that another
distribution names in its entry points (``dazoo.executors``). What a worker finished is on disk the moment it finished:
an outcome holds no result, only what could not be done.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeVar

from dazoo.core.errors import UnknownName, nearest
from dazoo.core.registry import Registry

if TYPE_CHECKING:  # a spawned worker imports this module before it may import numpy or torch
    from dazoo.bench.execute.place import Place
    from dazoo.bench.plan.plan import RunSpec
    from dazoo.bench.plan.protocol import Protocol

E = TypeVar("E", bound="Executor")
EXECUTORS: Registry[type[Executor]] = Registry("executor", "dazoo.bench.execute.executors", "dazoo.executors")


@dataclass(frozen=True)
class Unit:
    """What a worker does in one go: first make ``domains`` ready under a protocol, then ``runs``.

    ``trusted``: whether data that a worker cannot read are known to be unreadable everywhere, so that its runs fail.
    """

    runs: tuple[RunSpec, ...] = ()
    domains: tuple[tuple[Protocol, str], ...] = ()
    trusted: bool = False


@dataclass(frozen=True)
class Refusal:
    """Why a worker cannot work on its ``node``, in a sentence; ``domain`` is what it could not read, if that is it."""

    node: str
    why: str
    domain: tuple[Protocol, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a unit whose runs are not all recorded by its worker; of others, that it is done.

    Attributes:
        left: runs that another ``dazoo run`` is at.
        died: whether the worker died in this unit; ``begun``: had it come so far as to blame a run.
        token: names the worker and its claims, where it may be on another machine.
        refused: why it was not begun.
    """

    unit: Unit
    left: tuple[RunSpec, ...] = ()
    died: bool = False
    begun: bool = True
    token: str = ""
    refused: Refusal | None = None


@dataclass(frozen=True)
class Setup:
    """What an executor is made of: where runs happen, how many workers there may be, the sizes of the shards when the
    runs were planned (``store.Follower.at``), options by name, and what says a sentence to a person."""

    place: Place
    jobs: int
    since: dict[str, int]
    options: Mapping[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda text: None


class Executor(abc.ABC):
    """Workers somewhere. Made when there is something to do, closed in the end.

    Attributes:
        options: what its options are called, and what they mean.
        remote: whether its workers may be on other machines, whose devices and files are theirs.
        queues: whether units that it was given may wait in it.
    """

    options: ClassVar[Mapping[str, str]] = {}
    remote: ClassVar[bool] = False
    queues: ClassVar[bool] = False

    def __init__(self, setup: Setup):
        self.setup = setup

    @classmethod
    def here(cls, place: Place, jobs: int) -> bool:
        """Whether the runs are done in this very process instead, one after the other."""
        return False

    @classmethod
    def check(cls, options: Mapping[str, str]) -> None:
        """Raise ``DazooError`` where options are unknown or wrong, or what the executor needs is not installed."""
        for name in options:
            if name.partition(":")[0] not in cls.options:
                raise UnknownName(f"this executor has no option {name!r}: {nearest(name, cls.options)}")

    def kind(self, spec: RunSpec) -> Hashable:
        """Runs of different kinds are never in one unit."""
        return None

    def pack(self, units: Sequence[Unit]) -> list[Unit]:
        """The units to submit instead, where small ones are too dear."""
        return list(units)

    @property
    @abc.abstractmethod
    def workers(self) -> int:
        """How many units may be worked on at the same time; 0 when all workers have refused."""

    @abc.abstractmethod
    def free(self) -> int:
        """How many units it takes now."""

    @abc.abstractmethod
    def submit(self, units: Sequence[Unit]) -> None:
        """Begin with at most ``free()`` units."""

    @abc.abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """What ended, after at most so many seconds; an error of the harness itself in a worker is raised here."""

    @abc.abstractmethod
    def dismiss(self, token: str) -> None:
        """Give nothing any more to the worker, and what is like it, whose outcome of this token was a refusal."""

    @abc.abstractmethod
    def close(self) -> None:
        """End all workers, whatever they are at."""


def register(cls: type[E]) -> type[E]:
    """Add an executor under the name of its file."""
    EXECUTORS.add(cls.__module__.rsplit(".", 1)[-1], cls)
    return cls
