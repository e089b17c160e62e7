"""In which order the samples of a stream arrive: decided by the task and its seed, the same for all methods."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, nearest
from dazoo.data.domain import Domain
from dazoo.data.hidden import Hidden

ORDERS = ("shuffled", "class_sorted", "dirichlet")
FIELDS = ("batch", "episodic", "order", "mixed", "rounds", "delta")
"""What a task, or ``stream`` in a suite, may say of a stream."""


@dataclass(frozen=True)
class Arrival:
    """How a stream is made.

    Attributes:
        batch: samples per batch; the last one may be smaller. A batch may hold the end of one domain and the beginning
            of the next, so that its size tells nothing of where a domain ends.
        episodic: whether every batch meets the source's model anew.
        order: ``shuffled``; ``class_sorted``: one class after the other; ``dirichlet``: classes come and go.
        mixed: whether the samples of several targets arrive mixed, and not target after target.
        rounds: how often the whole sequence is gone through, each time in an order of its own.
        delta: how evenly a class of a ``dirichlet`` order is spread over time: its shares in K pieces of the stream are
            drawn from Dirichlet(delta, ..., delta), so that it is spread evenly for large values, and comes all at once
            for small ones.
    """

    batch: int = 64
    episodic: bool = False
    order: str = "shuffled"
    mixed: bool = False
    rounds: int = 1
    delta: float = 0.1

    @staticmethod
    def of(task: Any) -> Arrival:
        """What a task says of its stream.

        Raises:
            DazooError: a field has no such value.
        """
        made = Arrival(**{field: getattr(task, field) for field in FIELDS})
        try:
            made.check()
        except DazooError as error:
            raise DazooError(f"task {task.name!r}: {error}") from error
        return made

    def check(self) -> None:
        """Raise ``DazooError`` where a field has no such value."""
        for name in ("batch", "rounds"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise DazooError(f"{name} must be a whole number, at least 1, not {value!r}")
        for name in ("episodic", "mixed"):
            if not isinstance(getattr(self, name), bool):
                raise DazooError(f"{name} is true or false, not {getattr(self, name)!r}")
        if self.order not in ORDERS:
            raise DazooError(f"unknown order {self.order!r} of a stream: {nearest(str(self.order), ORDERS)}")
        delta = self.delta
        if not isinstance(delta, Real) or isinstance(delta, bool) or not 0 < float(delta) < float("inf"):
            raise DazooError(f"delta must be a number above 0, not {delta!r}")

    def arriving(self, target: Domain, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """``rows`` of a target in the order of their arrival."""
        whole = target.y is not None and target.known is None and not target.regression
        y = target.y[rows] if whole and target.y is not None else None
        return rows[self.rows(len(rows), None if target.member is None else target.member[rows], y, rng)]

    def rows(self, n: int, member: Tensor | None, y: Tensor | None, rng: np.random.Generator) -> Tensor:
        """Rows (rounds n,) of the target in the order of their arrival.

        Args:
            member: which of several targets (n,) a row is of.
            y: classes (n,); None where they are unknown.

        Raises:
            DazooError: an order by classes, and no labels.
        """
        if self.order != "shuffled" and y is None:
            raise DazooError(f"the order {self.order!r} of a stream needs the classes of all target samples")
        labels = None if y is None or self.order == "shuffled" else y.numpy()
        which = np.zeros(n, dtype=np.int64) if member is None or self.mixed else member.numpy()
        pieces = [
            self._within(np.flatnonzero(which == d), labels, rng) for _ in range(self.rounds) for d in np.unique(which)
        ]
        return torch.from_numpy(np.concatenate(pieces))

    def _within(self, rows: np.ndarray, y: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """The rows of one part in their order."""
        rows = rows[rng.permutation(len(rows))]
        if y is None:
            return rows
        classes = rng.permutation(np.unique(y[rows]))
        if self.order == "class_sorted":
            return np.concatenate([rows[y[rows] == c] for c in classes])
        slots: list[list[np.ndarray]] = [[] for _ in classes]
        for c in classes:
            mine = rows[y[rows] == c]
            shares = rng.dirichlet(np.full(len(slots), self.delta))
            cuts = np.round(np.cumsum(shares)[:-1] * len(mine)).astype(int)
            for slot, part in zip(slots, np.split(mine, cuts)):
                slot.append(part)
        # within a piece of time one class after the other, in an order of its own
        return np.concatenate([slot[i] for slot in slots for i in rng.permutation(len(slot))])


def answered(target: Domain, order: Tensor, rows: Tensor, n_known: int | None = None) -> Hidden:
    """The labelled ones of ``rows`` of a target, in the order of their arrival; classes from ``n_known`` on are
    unknown."""
    at = torch.nonzero(torch.isin(order, rows) & torch.isin(order, target.labelled))[:, 0]
    if target.y is None or not len(at):
        return Hidden(target.x[order], None)
    member = None if target.member is None else target.member[order[at]]
    fine = target.y[order[at]]
    if n_known is None:
        return Hidden(target.x[order[at]], fine, None, at, member)
    return Hidden(target.x[order[at]], fine.clamp(max=n_known), fine, at, member)
