"""Promises where labels are asked for: within the budget, none twice, and none again after a run was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from dazoo.contracts.failure import require
from dazoo.contracts.toys import options_for, task_for
from dazoo.core.ask import Ask
from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure
from dazoo.core.types import Seen
from dazoo.engine.fit import FitResult, fit
from dazoo.engine.train import Loop
from dazoo.methods.base import Method


class _Killed(Exception):
    pass


def watched(seen: Seen) -> tuple[Seen, list[int]]:
    """``seen`` with a door that writes down, in the list, which rows are really looked up."""
    looked: list[int] = []
    ask = seen.ask
    assert ask is not None
    answer = ask._answer

    def note(rows: Tensor) -> Tensor:
        looked.extend(rows.tolist())
        return answer(rows)

    return dataclasses.replace(seen, ask=Ask(note, ask.rows, ask.budget, ask.rounds, ask.holdout)), looked


def check_budget(cls: type[Method]) -> None:
    """A fit asks for its whole budget, for no row twice, and writes down which; one row more is an error."""
    method = configure(cls, getattr(cls, "toy_hparams", {}))
    seen, looked = watched(task_for(cls).seen())
    ask = seen.ask
    assert ask is not None
    made: FitResult = fit(method, seen, seed=0, options=options_for(cls))
    require(len(looked) == ask.budget, f"{len(looked)} labels were looked up, the budget is {ask.budget}")
    require(len(set(looked)) == len(looked), "the label of a target row was looked up twice")
    require(made.info["asked"]["rows"] == looked, "the record does not say which rows were asked for")
    first, door = list(looked), ask.opened()
    door(ask.rows[: ask.budget])
    try:
        door(ask.rows[ask.budget : ask.budget + 1])
    except DazooError:
        pass
    else:
        require(False, "a label beyond the budget was given")

    seen, again = watched(task_for(cls).seen())
    original = Loop._save

    def save_and_die(self: Loop, path: Path) -> None:
        original(self, path)
        if self.step == 7:
            raise _Killed

    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pt"
        options = options_for(cls, save_every=0.0)
        Loop._save = save_and_die  # type: ignore[method-assign]
        try:
            with contextlib.suppress(_Killed):
                fit(method, seen, seed=0, options=options, state=state)
        finally:
            Loop._save = original  # type: ignore[method-assign]
        before = list(again)
        require(0 < len(before) < ask.budget, "the run was not stopped between two questions")
        fit(method, seen, seed=0, options=options, state=state)
    require(again == first, f"a run that was stopped after {len(before)} answers and went on asked for other rows")


def asks(cls: type[Method]) -> bool:
    """Whether a method chooses which labels it is shown."""
    return "query" in cls.handles.marked


def unasked(rest: Tensor, info: dict[str, object]) -> Tensor:
    """Those of the visible rows ``rest`` of a target whose labels a fit has not asked for."""
    found = info.get("asked")
    rows = torch.tensor(found["rows"] if isinstance(found, dict) else [], dtype=torch.int64)
    return rest[~torch.isin(torch.arange(len(rest)), rows)]
