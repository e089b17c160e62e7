"""A task whose samples are read block by block, or one whose samples are all in memory, at somebody's word."""

from __future__ import annotations

from dataclasses import replace

from dazoo.core.blocks import Blocks, InMemory
from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.task import Task


def streamed(task: Task, stream: bool) -> Task:
    """``task`` with all samples behind blocks, or (``stream`` False) as tensors.

    Raises:
        DazooError: raw samples, which have to be encoded in memory.
    """

    def turned(domain: Domain) -> Domain:
        x, test = domain.x, None if domain.test is None else turned(domain.test)
        if domain.raw and stream:
            raise DazooError(f"domain {domain.name!r} holds {domain.kind} samples, which no blocks hold; leave stream=")
        if isinstance(x, Blocks) != stream and not domain.raw:
            x = InMemory(x) if stream else x.tensor()
        return domain if x is domain.x and test is domain.test else replace(domain, x=x, test=test)

    return task.change(sources=tuple(map(turned, task.sources)), target=turned(task.target))
