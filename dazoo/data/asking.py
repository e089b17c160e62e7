"""The hidden labels of a task behind a door that counts: what the active setting lets a method ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.ask import Ask
from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain


def door(
    task: str, target: Domain, rows: Tensor, never: Tensor | None, budget: float, rounds: int, holdout: float
) -> Ask:
    """The door to the labels of the target's visible ``rows``, as the method counts them from 0.

    Args:
        never: rows of the target that are not asked for: those that are for testing, or those with a label given.
        budget: share of ``rows`` whose labels may be asked for, at least one.

    Raises:
        DazooError: there is no label to ask for.
    """
    y, able = target.y, torch.isin(rows, target.labelled)
    if never is not None:
        able &= ~torch.isin(rows, never)
    if y is None or not bool(able.any()):
        raise DazooError(f"task {task!r}: the active setting needs target samples whose labels can be asked for")
    known = y[rows]
    return Ask(
        lambda asked: known[asked], torch.nonzero(able)[:, 0], max(1, round(budget * len(rows))), rounds, holdout
    )


def check_questions(task: str, budget: float, rounds: int, holdout: float) -> None:
    """Raises ``DazooError`` where a task's options about questions are out of place."""
    if isinstance(budget, bool) or not isinstance(budget, (int, float)) or not 0 < budget <= 1:
        raise DazooError(
            f"task {task!r}: budget is the share of the target whose labels may be asked for, in (0, 1], not {budget!r}"
        )
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise DazooError(f"task {task!r}: ask_rounds must be a whole number, at least 1, not {rounds!r}")
    if isinstance(holdout, bool) or not isinstance(holdout, (int, float)) or not 0 <= holdout < 1:
        raise DazooError(f"task {task!r}: asked_holdout must lie in [0, 1), not {holdout!r}")
