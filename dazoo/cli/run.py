"""The commands ``run``, ``ledger`` and ``site``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.records.size import size_text
from dazoo.bench.report.model import Report
from dazoo.bench.report.words import skipped
from dazoo.bench.suite_run import Job, carry_out, prepare, unkept
from dazoo.cli import unchanged
from dazoo.cli.mirrored import mirrored
from dazoo.cli.report import shown_anyway, shown_of
from dazoo.cli.shown import print_shown
from dazoo.core.files import write_text


def run_suite(suite: str, **options: Any) -> None:
    """Run a suite with a progress bar and print the leaderboard."""
    log = Console(stderr=True, highlight=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DeprecationWarning)
        file = find_suite(suite)
    for one in said:
        log.print(f"note: {one.message}", markup=False, soft_wrap=True)
    before = unchanged.holdings(unchanged.folder_of(file, options))
    job = prepare(file, **options)
    announced = _announce(job, log)
    try:
        with shown_anyway():
            made = shown_of(_with_progress(job, log))
            print_shown(made)
    except KeyboardInterrupt:
        log.print("stopped; what was finished is stored, and the same command goes on from there")
        sys.exit(130)
    unchanged.remember(file, options, job, before, made, announced)
    lost = unkept(job)
    if lost:
        log.print(
            f"{lost} of {len(job.missing)} runs have no kept outputs, which dazoo rescore needs "
            f"(--keep {size_text(job.place.keep).replace(' ', '')}; their records say why)",
            soft_wrap=True,
        )


@mirrored
def show_ledger(folders: list[Path], published: Path | None, rows: Path | None, out: Path | None) -> None:
    """Make the ledger; print it, or write it and print the verdicts."""
    from dazoo.bench.published.ledger import make_ledger
    from dazoo.bench.report.ledger import markdown

    lines = make_ledger(folders, published, rows)
    if out is None:
        print(markdown(lines), end="")
        return
    write_text(out, markdown(lines))
    for line in lines:
        numbers = "" if line.ours is None else f"{line.ours:.2f}, published {line.published.average:.1f}: "
        print(f"{line.declared.dataset} {line.declared.method}: {numbers}{line.verdict}")
    print(f"page: {out}")


@mirrored
def make_site(folders: list[Path], out: Path, published: Path | None, rows: Path | None) -> None:
    """Write a site and say where it is; without a table of published numbers its rows carry no badge."""
    from dazoo.bench.published.ledger import make_ledger
    from dazoo.bench.published.tables import default_published, default_rows
    from dazoo.bench.report.site import site

    asked = published is not None or rows is not None
    there = (published or default_published()).is_file() and (rows or default_rows()).is_file()
    lines = make_ledger(folders, published, rows) if asked or there else []
    made = site(folders, out, lines)
    if not lines:
        print("no table of published numbers is at hand, so no row carries a badge; --published names one")
    print(f"{len(made)} files; open {out / 'index.html'}")


def _announce(job: Job, log: Console) -> list[str]:
    """Say what is to be done; returns what was said."""
    plan = job.plan
    stored = len(plan.specs) - len(job.missing)
    said = [
        f"{job.suite.name}: {len(plan.specs)} runs, {stored} stored, {len(job.missing)} to do "
        f"({job.place.device}, {job.jobs} job{'s' if job.jobs > 1 else ''})"
    ]
    for reason, labels in skipped((vars(s) for s in plan.skipped), len(plan.suite.labels) > 1):
        said.append(f"skipped because it {reason}: {', '.join(labels)}")
    if job.failed:
        said.append(f"{job.failed} of the stored runs failed; --retry-failed runs them again")
    if len(job.damage):
        said.append(f"warning: {job.damage.summary()}")
    for line in said:
        log.print(line, markup=False)
    return said


def _with_progress(job: Job, log: Console) -> Report:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log, disable=not job.missing) as bar:
        shown = bar.add_task("runs", total=len(job.missing))
        return carry_out(
            job, lambda n: bar.advance(shown, n), lambda text: log.print(text, markup=False, soft_wrap=True)
        )
