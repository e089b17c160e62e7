"""What moved between two result folders, and first of all whether they may be compared."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dazoo.bench.analysis.compare import paired, seed_spread
from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.significance import LEVEL, holm
from dazoo.bench.report.model import Report
from dazoo.core.errors import DazooError

NOTHING = "no method and task has a number in both folders, so nothing can be compared"
CODE = "code"
"""The hash of a method's own file: a change of it is what a difference is made to show."""
Cells = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Move:
    """One method on one task: ``change`` is new minus old.

    ``p`` is over the seeds of this task, Holm-corrected, and NaN where they cannot tell.
    """

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
    """The difference in words, one line each; what the folders did differently comes first.

    Raises:
        DazooError: the folders report different metrics.
    """
    if old.board.metric != new.board.metric:
        raise DazooError(
            f"{old.folder} reports {old.board.metric} and {new.folder} {new.board.metric}; choose one with --metric"
        )
    found = diff(old.board.cells, new.board.cells)
    lines = unlike(old, new)
    if lines:
        lines.append("So a move below need not come from a change of the code.")
    cells = len(found.moves) + found.same
    lines.append(f"{len(found.moves)} of {cells} cells moved ({new.unit})" if cells else NOTHING)
    for m in found.moves:
        sign = "+" if m.change > 0 else ""
        sure = f" (p = {m.p:.2g} over seeds{', sure' if m.sure else ''})" if not np.isnan(m.p) else ""
        lines.append(f"{m.label} on {m.task}: {old.show(m.old)} -> {new.show(m.new)}, {sign}{new.show(m.change)}{sure}")
    lines += [f"only in {old.folder}: {label} on {task}" for label, task in found.gone]
    return lines + [f"only in {new.folder}: {label} on {task}" for label, task in found.come]


def unlike(old: Report, new: Report) -> list[str]:
    """How the protocols of two folders differ where both have a number, one line per difference.

    The rule of selection, then setting, data, transforms, recipe, splits and hyper-parameters of the selected runs, and
    the numbers of seeds and trials.
    """
    lines = []
    if old.board.rule != new.board.rule:
        lines.append(f"unlike protocols: the rule of selection was {old.board.rule}, now {new.board.rule}")
    both = [k for k, c in old.board.cells.items() if len(c.values) and _has(new, k)]
    before, after = _Protocols(old), _Protocols(new)
    counts: Counter[tuple[str, str, str]] = Counter()
    for key in both:
        one, two = before(key), after(key)
        names = [n for n in sorted({*one, *two}) if one.get(n) != two.get(n)]
        counts.update((n, _short(one.get(n)), _short(two.get(n))) for n in names)
    return lines + [
        f"unlike protocols: {name} was {a}, now {b} ({n} of {len(both)} cells)" for (name, a, b), n in counts.items()
    ]


def _has(made: Report, key: tuple[str, str]) -> bool:
    return key in made.board.cells and len(made.board.cells[key].values) > 0


class _Protocols:
    """What the selected runs of a cell did, flat: names with dots to values."""

    def __init__(self, made: Report):
        self.made = made
        self.runs = {(r.label, r.task, r.trial, r.seed): r.key for r in made.runs.runs}
        self.trials: dict[tuple[str, str], set[int]] = {}
        for r in made.runs.runs:
            self.trials.setdefault((r.label, r.task), set()).add(r.trial)

    def __call__(self, key: tuple[str, str]) -> dict[str, Any]:
        cell, origins = self.made.board.cells[key], self.made.origins
        origin = origins.runs[self.runs[*key, cell.trial, cell.seeds[0]]]
        told = {k: v for k, v in origins.setups.values[origin.setup].items() if k != CODE}
        counts = {"number of seeds": len(cell.values), "number of trials": len(self.trials[key])}
        return dict(_flat(told | {"hyper-parameters": origins.hparams.values[origin.hparams]} | counts))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _short(value: Any) -> str:
    return "nothing" if value is None else textwrap.shorten(str(value), 60)
