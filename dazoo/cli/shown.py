"""How a leaderboard is printed. Apart from what makes it, so that one that was made before needs no more than this."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

LEFT = ("method", "family", "selected by")


@dataclass(frozen=True)
class Shown:
    """A leaderboard as it is printed: its title, the heads of its columns, rows, and the sentences below, in markup.

    Columns with a head in ``optional`` are left out where the terminal has no room for them.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]
    below: list[str]
    optional: list[str] = field(default_factory=list)


def print_shown(shown: Shown) -> None:
    """Print a leaderboard."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = _table(shown, [])
    if (
        shown.optional
        and console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width
    ):
        table = _table(shown, shown.optional)
    console.print(table)
    for i, line in enumerate(shown.below):
        console.print(line, soft_wrap=i > 0)


def _table(shown: Shown, without: Sequence[str]) -> Table:
    table = Table(title=shown.title, title_justify="left", caption_justify="left", box=None, pad_edge=False)
    kept = [i for i, head in enumerate(shown.heads) if head not in without]
    for head in (shown.heads[i] for i in kept):
        table.add_column(head, justify="left" if head in LEFT else "right", no_wrap=head == "method")
    for row in shown.rows:
        table.add_row(*(row[i] for i in kept))
    return table
