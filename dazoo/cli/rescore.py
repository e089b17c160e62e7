"""The command ``rescore``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dazoo.bench.execute.rescore import Unscored, find_unscored, score
from dazoo.cli.mirrored import mirrored

SHOWN = 5


@mirrored
def rescore(folder: Path, validators: list[str], data_root: Path | None, again: bool) -> None:
    """Score kept outputs with a progress bar and say what could not be scored."""
    log = Console(stderr=True, highlight=False)
    unscored = find_unscored(folder, validators, data_root, again)
    log.print(f"{escape(str(folder))}: {unscored.total} runs; validators: {', '.join(unscored.names)}", soft_wrap=True)
    if len(unscored.damage):
        log.print(f"warning: {escape(unscored.damage.summary())}", soft_wrap=True)
    try:
        problems = _with_progress(unscored, log)
    except KeyboardInterrupt:
        log.print("stopped; what was scored is stored, and the same command goes on from there")
        sys.exit(130)
    parts = [_count(len(unscored.runs), "run")] + ([_count(len(unscored.groups), "group")] if unscored.groups else [])
    print(f"scored {' and '.join(parts)}" if unscored.size else "nothing to score")
    _name(unscored.unkept, "run", "without kept outputs cannot be scored")
    _name(unscored.broken, "group", "with such a run cannot be scored")
    for problem in problems[:SHOWN]:
        print(f"warning: {problem}")
    if len(problems) > SHOWN:
        print(f"and {len(problems) - SHOWN} more warnings")


def _with_progress(unscored: Unscored, log: Console) -> list[str]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log, disable=not unscored.size) as bar:
        shown = bar.add_task("runs", total=unscored.size)
        return score(unscored, lambda n: bar.advance(shown, n))


def _name(titles: list[str], what: str, why: str) -> None:
    if titles:
        more = f"; and {len(titles) - SHOWN} more" if len(titles) > SHOWN else ""
        print(f"{_count(len(titles), what)} {why}: {'; '.join(titles[:SHOWN])}{more}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
