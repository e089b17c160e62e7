"""Tables of mixed types as numbers, column by column, each according to its role.

===========  ==========================================================================================================
``number``   (x - median) / spread, spread = interquartile range / 1.349, cut at 10; gaps become the median and a column
``boolean``  the same of 0 and 1; yes and no, true and false, in any spelling
``category`` a 0/1 column for every level that occurs often enough, one for all others and one for gaps
``date``     days as a number and, over more than a year, the place in the year as sine and cosine
``text``     TF-IDF of its words, reduced to a few directions
``ignored``  left out: empty or constant columns, identifiers
===========  ==========================================================================================================

Roles are inferred from the rows of the source and of the target together, labels aside, and said; ``roles`` overrides
them. Levels that only one domain has, columns that one domain lacks, and levels that come later are no errors. Levels
that differ by capitals or spaces alone are kept apart, and pointed out. Cells that are no number in a column of numbers
count as missing, which is said.

Of a domain with more than ``ROWS`` rows, so many drawn at random decide on roles and statistics; all rows are turned
into numbers, block by block.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, DazooWarning, UnknownName, nearest
from dazoo.core.hparam import hp
from dazoo.data.raw import Table as Rows
from dazoo.encoders._cells import level_of, numbers_of
from dazoo.encoders._columns import Column, fitted_column, unread
from dazoo.encoders._roles import COUNTS, ROLES, counts_rows, role_in
from dazoo.encoders.base import Encoder, Fitted, register

ROWS = 200_000
BLOCK = 100_000


@dataclass(frozen=True)
class FittedTable(Fitted):
    """Maps of the columns in their order, and what was said of them; ``clean`` columns could be read wholly."""

    names: list[str]
    roles: dict[str, str]
    columns: dict[str, Any]
    notes: list[str]
    clean: list[str] = field(default_factory=list)

    def __call__(self, x: Any) -> Tensor:
        frame = x.with_columns(self.names, "the table").frame
        made = torch.empty(len(frame), len(self.outputs()))
        strange: dict[str, list[Any]] = {}
        for start in range(0, len(frame), BLOCK):
            part = frame.iloc[start : start + BLOCK]
            torch.cat([column(part[name]) for name, column in self.columns.items()], 1, out=made[start : start + BLOCK])
            for name in self.clean:
                strange.setdefault(name, []).extend(part[name][unread(part[name], self.columns[name])])
        for name, cells in strange.items():
            if cells:
                warnings.warn(f"column {name!r} {_no(self.roles[name], cells)}", DazooWarning, stacklevel=2)
        return made

    def outputs(self) -> tuple[str, ...]:
        return tuple(n for name, column in self.columns.items() for n in column.outputs(name))

    def ignored(self) -> tuple[str, ...]:
        return tuple(name for name, role in self.roles.items() if role == "ignored")

    def said(self) -> list[str]:
        return list(self.notes)


@register
class Table(Encoder):
    """Columns by their roles: numbers, truth values, levels, dates and texts."""

    takes = ("table",)
    default_for = ("table",)

    roles: Any = hp(None, help="roles of columns that are to be read otherwise, e.g. {cp: category, id: ignored}")
    rare: int = hp(5, least=1, help="rows in which a level must occur to have a column of its own")
    levels: int = hp(50, least=1, most=10_000, help="most levels of a column that have one each, the frequent first")
    words: int = hp(20, least=0, most=1000, help="directions kept of a column of texts")

    def fit(self, source: Any, target: Any) -> FittedTable:
        names, n, m = list(source.names), len(source), len(target)
        whole = [source, target.with_columns(names, "the target")] if m else [source]
        drawn: list[Rows] = [_drawn(part) for part in whole]
        rows, n_source = drawn[0].join(drawn[1:]), len(drawn[0])
        frame = rows.frame
        asked = {**rows.roles, **dict(self.roles or {})}
        for name, role in asked.items():
            if name not in names:
                raise UnknownName(f"the table has no column {name!r} to give a role: {nearest(name, names)}")
            if role not in ROLES:
                raise UnknownName(f"a column has no role {role!r}: {nearest(str(role), ROLES)}")
        roles: dict[str, str] = {}
        columns: dict[str, Column] = {}
        notes: list[str] = []
        clean: list[str] = []
        if len(frame) < n + m:
            notes.append(f"roles and statistics are those of {len(frame):,} rows drawn from {n + m:,}")
        for name in names:
            parts = drawn[0].frame[name], frame[name].iloc[n_source:]
            roles[name], note = (asked[name], "") if name in asked else role_in(*parts)
            if name not in asked and roles[name] == "number" and len(frame) < n + m:
                every = [part.frame[name] for part in whole]  # a sample of rows has gaps between them
                if any(counts_rows([part]) for part in every) or counts_rows(every):
                    roles[name], note = "ignored", COUNTS
            made = fitted_column(frame[name], n_source, roles[name], self.rare, self.levels, self.words)
            if made is not None:
                columns[name] = made
                strange = frame[name][unread(frame[name], made)]
                notes += [f"column {name!r} {_no(roles[name], list(strange))}"] if len(strange) else []
                clean += [] if len(strange) or roles[name] not in ("number", "boolean", "date") else [name]
            elif roles[name] != "ignored":
                roles[name], note = "ignored", _nothing(roles[name], frame[name])
            notes += [f"column {name!r} {note}"] if note else []
            notes += _spellings(name, frame[name]) if roles[name] == "category" else []
            notes += _lacking(name, *parts)
        if not columns:
            raise DazooError("the table has no column that varies; give features beside the label and the domain")
        return FittedTable(names, roles, columns, [_summary(roles), *notes], clean)


def _drawn(rows: Rows) -> Rows:
    """At most ``ROWS`` rows in their order."""
    if len(rows) <= ROWS:
        return rows
    return rows.take(np.sort(np.random.default_rng(0).choice(len(rows), ROWS, replace=False)))


def _no(role: str, cells: list[Any]) -> str:
    """A sentence about cells that are not what their column is."""
    what = {"date": "dates", "boolean": "truth values"}.get(role, "finite numbers")
    return f"holds {len(cells)} cells that are no {what}, first {str(cells[0])!r}; they count as missing"


def _nothing(role: str, values: Any) -> str:
    """Why a column that was to be read says nothing."""
    cells = values.dropna()
    if role in ("number", "boolean", "date") and len(cells) and not pd_numbers(role, cells):
        what = {"date": "a date", "boolean": "a truth value"}.get(role, "a number")
        first = str(cells.iloc[0])[:40]
        return f"is to be read as {role}, but no cell is {what} (first {first!r}); it is left out: give it another role"
    return "does not vary and is left out"


def pd_numbers(role: str, cells: Any) -> bool:
    """Whether some of the cells can be read in that role."""
    return bool(np.isfinite(numbers_of(cells, role == "date")).any())


def _summary(roles: dict[str, str]) -> str:
    by_role = {role: [n for n, r in roles.items() if r == role] for role in ROLES}
    parts = [f"{len(n)} {role}{'' if len(n) == 1 else 's'} ({_some(n)})" for role, n in by_role.items() if n]
    return "columns are read as " + ", ".join(parts).replace("categorys", "categories").replace("ignoreds", "ignored")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _spellings(name: str, values: Any) -> list[str]:
    """Levels that differ by capitals or spaces alone."""
    seen: dict[str, list[str]] = {}
    for level in values.dropna().map(level_of).unique():
        seen.setdefault(" ".join(level.split()).casefold(), []).append(level)
    twice = [spelled for spelled in seen.values() if len(spelled) > 1]
    if not twice:
        return []
    return [
        f"column {name!r} spells what may be one level in several ways ({', '.join(map(repr, twice[0]))}); they are "
        "kept apart: make them one where they mean the same"
    ]


def _lacking(name: str, source: Any, target: Any) -> list[str]:
    """A column that only one of the domains has filled."""
    if not len(target) or bool(source.isna().all()) == bool(target.isna().all()):
        return []
    one = "source" if bool(source.isna().all()) else "target"
    return [f"column {name!r} is empty in the {one}: it tells the domains apart and cannot help to adapt"]
