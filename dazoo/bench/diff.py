"""What moved between two result folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dazoo.bench.compare import paired, seed_spread
from dazoo.bench.select import Cell
from dazoo.bench.significance import holm
from dazoo.core.errors import DazooError

if TYPE_CHECKING:
    from dazoo.bench.report import Report

LEVEL = 0.05
Cells = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Move:
    """One method on one task: ``change`` is new minus old; ``p`` is Holm-corrected, NaN where seeds cannot tell."""

    label: str
    task: str
    old: float
    new: float
    change: float
    p: float

    @property
    def sure(self) -> bool:
        return self.p < LEVEL


@dataclass(frozen=True)
class Diff:
    """``moves``: cells that changed, largest first. ``same``: how many did not.

    ``gone`` and ``come``: ``(label, task)`` of cells that only the old or only the new folder has.
    """

    moves: tuple[Move, ...]
    same: int
    gone: tuple[tuple[str, str], ...]
    come: tuple[tuple[str, str], ...]


def diff(old: Cells, new: Cells) -> Diff:
    """Compare cells with numbers, seed by seed."""
    before = {k: c for k, c in old.items() if len(c.values)}
    after = {k: c for k, c in new.items() if len(c.values)}
    both = sorted(before.keys() & after.keys())
    most = max((len(c.values) for c in (*before.values(), *after.values())), default=1)
    groups = {k: paired(after[k], before[k], True, most) for k in both}
    moved = [k for k in both if np.any(np.abs(groups[k]) > 1e-12)]
    p = holm([seed_spread([groups[k]]).p() for k in moved])
    moves = [
        Move(*k, before[k].mean, after[k].mean, after[k].mean - before[k].mean, float(v)) for k, v in zip(moved, p)
    ]
    moves.sort(key=lambda m: (-abs(m.change), m.label, m.task))
    gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    return Diff(tuple(moves), len(both) - len(moved), tuple(gone), tuple(come))


def told(old: Report, new: Report) -> list[str]:
    """The difference in words, one line each.

    Raises:
        DazooError: the folders report different metrics.
    """
    if old.board.metric != new.board.metric:
        raise DazooError(
            f"{old.folder} reports {old.board.metric} and {new.folder} {new.board.metric}; choose one with --metric"
        )
    found = diff(old.board.cells, new.board.cells)
    lines = [f"{len(found.moves)} of {len(found.moves) + found.same} cells moved ({new.unit})"]
    if old.board.rule != new.board.rule:
        lines.append(f"the rule of selection differs: {old.board.rule} before, {new.board.rule} now")
    for m in found.moves:
        sign = "+" if m.change > 0 else ""
        sure = f" (p = {m.p:.2g}{', sure' if m.sure else ''})" if not np.isnan(m.p) else ""
        lines.append(f"{m.label} on {m.task}: {old.show(m.old)} -> {new.show(m.new)}, {sign}{new.show(m.change)}{sure}")
    lines += [f"only in {old.folder}: {label} on {task}" for label, task in found.gone]
    return lines + [f"only in {new.folder}: {label} on {task}" for label, task in found.come]
