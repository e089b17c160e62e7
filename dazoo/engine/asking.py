"""Questions of the active setting while a run trains: the method picks rows, the engine asks, and their labels are
learned from. What was asked is part of a run's state, so a stopped run goes on without asking again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dazoo.core.ask import Ask, portions
from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled, Seen
from dazoo.nets.net import part_seed

if TYPE_CHECKING:
    from dazoo.engine.feed import Feed
    from dazoo.methods.base import GradientMethod, Look
    from dazoo.nets.net import Net


class Questions:
    """What one run asks, and what it was answered.

    Attributes:
        ask: the door. portions: how many labels are asked for, by the step before which that is done.
        y: the labels of ``ask.asked``. held: which of them are kept from learning.
    """

    def __init__(self, seen: Seen, ask: Ask, steps: int, seed: int):
        self.seen, self.ask, self.seed = seen, ask.opened(), seed
        self.portions = portions(self.ask, steps)
        self.y = torch.empty(0, dtype=torch.int64)
        self.held = torch.empty(0, dtype=torch.bool)

    def due(self, step: int) -> int:
        """How many labels are to be asked for before ``step``; 0 where that was done, or nothing is."""
        before = sum(n for at, n in self.portions.items() if at < step)
        return self.portions.get(step, 0) if len(self.ask.asked) == before else 0

    def put(self, method: GradientMethod, feed: Feed, net: Net, look: Look, step: int) -> None:
        """Ask for the labels that are due, and let the run learn from them."""
        n, able = self.due(step), self.ask.open
        gen = torch.Generator().manual_seed(part_seed(self.seed, f"ask {len(self.ask.log)}"))
        picked = method.pick(net, look, able, n, gen).cpu()
        if picked.shape != (n,) or len(torch.unique(picked)) < n or not bool(torch.isin(picked, able).all()):
            raise DazooError(f"pick of {method.name!r} must return {n} different rows of those that it is given")
        rows = picked.sort().values  # the order of a question is no knowledge
        y = self.ask(rows)
        total = len(self.y) + n
        keep = round(self.ask.holdout * total) - int(self.held.sum())
        held = torch.zeros(n, dtype=torch.bool)
        held[torch.randperm(n, generator=gen)[: min(keep, n - 1 if not len(self.y) else n)]] = True
        self.y, self.held = torch.cat([self.y, y]), torch.cat([self.held, held])
        feed.learn(self.few)

    def _part(self, which: Tensor) -> Labeled:
        x = self.seen.target.x[self.ask.asked[which]]
        return Labeled(x, self.y[which], torch.zeros(len(x), dtype=torch.int64))

    @property
    def few(self) -> Labeled:
        """The labelled target samples that are learned from, those that the task gave first."""
        asked, given = self._part(~self.held), self.seen.few
        if given is None:
            return asked
        return Labeled(*(torch.cat([getattr(given, k), getattr(asked, k)]) for k in ("x", "y", "domain")))

    def seen_by_now(self) -> Seen:
        """What a run has seen by now: the task's view with the answers."""
        # held-out answers of fewer rounds are other samples: scores of different checkpoints would not be comparable
        held = self._part(self.held) if bool(self.held.any()) and not self.ask.left else None
        few = self.few if len(self.y) else self.seen.few
        return dataclasses.replace(self.seen, few=few, few_val=held, ask=None, asked=self.ask.asked)

    def to_json(self) -> dict[str, Any]:
        """What stands in the record: the rows in the order of asking, how many in each round, and how many
        of them were held out."""
        return {"rows": self.ask.asked.tolist(), "rounds": [len(r) for r in self.ask.log], "held": int(self.held.sum())}

    def state(self) -> dict[str, Any]:
        return {"log": self.ask.log, "y": self.y, "held": self.held}

    def restore(self, feed: Feed, state: dict[str, Any]) -> None:
        """Go on where a stopped run was, with its answers."""
        self.ask.recall([rows.cpu() for rows in state["log"]])
        self.y, self.held = state["y"].cpu(), state["held"].cpu()
        if len(self.y):
            feed.learn(self.few)
