"""The door to hidden labels of the active setting: a counted, logged question."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.core.errors import DazooError


class Ask:
    """``ask(rows)`` are the labels (k,) of ``rows`` (k,) of ``Seen.target``: at most ``budget`` of them in all.

    Attributes:
        rows: those that can be asked, ascending. budget: how many of them may be. rounds: in how many portions.
        holdout: share of the answers that is kept from learning, for validators.
        log: what was asked so far, a tensor of rows for every question.

    The labels themselves sit in no field, and a door counts for one fit: ``opened`` is the same with nothing asked.
    """

    def __init__(
        self, answer: Callable[[Tensor], Tensor], rows: Tensor, budget: int, rounds: int = 1, holdout: float = 0.0
    ):
        self._answer = answer
        self.rows, self.budget, self.rounds, self.holdout = rows, min(budget, len(rows)), rounds, holdout
        self.log: list[Tensor] = []

    def opened(self) -> Ask:
        """The same door with nothing asked."""
        return Ask(self._answer, self.rows, self.budget, self.rounds, self.holdout)

    @property
    def asked(self) -> Tensor:
        """All rows asked so far, in the order of asking."""
        return torch.cat(self.log) if self.log else self.rows[:0]

    @property
    def left(self) -> int:
        """How many rows may still be asked."""
        return self.budget - len(self.asked)

    @property
    def open(self) -> Tensor:
        """The rows that were not asked yet, ascending."""
        return self.rows[~torch.isin(self.rows, self.asked)]

    def __call__(self, rows: Tensor) -> Tensor:
        """The labels of ``rows``.

        Raises:
            DazooError: more rows than are left of the budget, rows asked before, or rows that nobody can label.
        """
        self._check(rows)
        self.log.append(rows.clone())
        return self._answer(rows)

    def recall(self, log: list[Tensor]) -> None:
        """Count as asked what a run asked before it was stopped; it kept the answers."""
        self.log = []
        for rows in log:
            self._check(rows)
            self.log.append(rows)

    def _check(self, rows: Tensor) -> None:
        if len(rows) > self.left:
            raise DazooError(
                f"{len(rows)} labels are asked for, but only {self.left} of the budget of {self.budget} are left; ask "
                "for fewer, or give the task a larger budget"
            )
        values, counts = torch.unique(rows, return_counts=True)
        twice = values[(counts > 1) | torch.isin(values, self.asked)].tolist()
        if twice:
            raise DazooError(f"the labels of the target rows {twice[:5]} are asked for twice; each costs but once")
        strange = rows[~torch.isin(rows, self.rows)].tolist()
        if strange:
            raise DazooError(f"nobody can say the labels of the target rows {strange[:5]}; ask for some of Ask.open")


def portions(ask: Ask, steps: int) -> dict[int, int]:
    """How many labels are asked for before which of ``steps`` training steps: evenly in the rounds that there is time
    and budget for, the first before any step."""
    rounds = max(1, min(ask.rounds, ask.budget, steps))
    return {round(steps * i / rounds): ask.budget * (i + 1) // rounds - ask.budget * i // rounds for i in range(rounds)}
