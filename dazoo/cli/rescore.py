"""The command ``rescore``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dazoo.bench.execute.rescore import Job, carry_out, prepare

SHOWN = 5


def rescore(folder: Path, validators: list[str], data_root: Path | None, again: bool) -> None:
    """Score kept outputs with a progress bar and say what could not be scored."""
    log = Console(stderr=True, highlight=False)
    job = prepare(folder, validators, data_root, again)
    log.print(f"{escape(str(folder))}: {job.total} runs; validators: {', '.join(job.names)}", soft_wrap=True)
    if len(job.damage):
        log.print(f"warning: {escape(job.damage.summary())}", soft_wrap=True)
    try:
        problems = _with_progress(job, log)
    except KeyboardInterrupt:
        log.print("stopped; what was scored is stored, and the same command goes on from there")
        sys.exit(130)
    parts = [_count(len(job.runs), "run")] + ([_count(len(job.groups), "group")] if job.groups else [])
    print(f"scored {' and '.join(parts)}" if job.size else "nothing to score")
    _name(job.unkept, "run", "without kept outputs cannot be scored")
    _name(job.broken, "group", "with such a run cannot be scored")
    for problem in problems[:SHOWN]:
        print(f"warning: {problem}")
    if len(problems) > SHOWN:
        print(f"and {len(problems) - SHOWN} more warnings")


def _with_progress(job: Job, log: Console) -> list[str]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log, disable=not job.size) as bar:
        shown = bar.add_task("runs", total=job.size)
        return carry_out(job, lambda n: bar.advance(shown, n))


def _name(titles: list[str], what: str, why: str) -> None:
    if titles:
        more = f"; and {len(titles) - SHOWN} more" if len(titles) > SHOWN else ""
        print(f"{_count(len(titles), what)} {why}: {'; '.join(titles[:SHOWN])}{more}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
