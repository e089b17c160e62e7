"""How a leaderboard is printed. Apart from what makes it, so that one that was made before needs no more than this."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

LEFT = ("method", "family", "selected by")


@dataclass(frozen=True)
class Shown:
    """A leaderboard as it is printed: its title, the heads of its columns, rows, and the sentences below, in markup."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    below: list[str]


def print_shown(shown: Shown) -> None:
    """Print a leaderboard."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(title=shown.title, title_justify="left", caption_justify="left", box=None, pad_edge=False)
    for head in shown.heads:
        table.add_column(head, justify="left" if head in LEFT else "right", no_wrap=head == "method")
    for row in shown.rows:
        table.add_row(*row)
    console.print(table)
    for i, line in enumerate(shown.below):
        console.print(line, soft_wrap=i > 0)
