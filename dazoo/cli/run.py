"""The commands ``run`` and ``report``."""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.records.size import size_text
from dazoo.bench.report.build import NotWritten, report
from dazoo.bench.report.latex import Layout
from dazoo.bench.report.model import Report
from dazoo.bench.report.words import rule_sentence, skipped
from dazoo.bench.suite_run import Job, carry_out, prepare, unkept
from dazoo.core.files import write_text

FEW_FINDINGS = 6


def run_suite(suite: str, **options: Any) -> None:
    """Run a suite with a progress bar and print the leaderboard."""
    log = Console(stderr=True, highlight=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DeprecationWarning)
        file = find_suite(suite)
    for one in said:
        log.print(f"note: {one.message}", markup=False, soft_wrap=True)
    job = prepare(file, **options)
    _announce(job, log)
    try:
        with _shown_anyway():
            show(_with_progress(job, log))
    except KeyboardInterrupt:
        log.print("stopped; what was finished is stored, and the same command goes on from there")
        sys.exit(130)
    lost = unkept(job)
    if lost:
        log.print(
            f"{lost} of {len(job.missing)} runs have no kept outputs, which dazoo rescore needs "
            f"(--keep {size_text(job.place.keep).replace(' ', '')}; their records say why)",
            soft_wrap=True,
        )


def show_report(
    folder: Path,
    select_by: str | None,
    metric: str | None,
    scatter: str = "pca",
    methods: list[str] | None = None,
    *,
    layout: Layout | None = None,
    figures: bool = False,
) -> None:
    """Rebuild and print a leaderboard."""
    with _shown_anyway():
        show(report(folder, select_by, metric, scatter, methods or [], layout, figures))


@contextmanager
def _shown_anyway() -> Iterator[None]:
    """Show a report whose files could not all be written, before that ends the command."""
    try:
        yield
    except NotWritten as error:
        show(error.report)
        raise


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


def _announce(job: Job, log: Console) -> None:
    plan = job.plan
    stored = len(plan.specs) - len(job.missing)
    log.print(
        f"{escape(job.suite.name)}: {len(plan.specs)} runs, {stored} stored, {len(job.missing)} to do "
        f"({job.place.device}, {job.jobs} job{'s' if job.jobs > 1 else ''})"
    )
    for reason, labels in skipped((vars(s) for s in plan.skipped), len(plan.suite.labels) > 1):
        log.print(f"skipped because it {reason}: {', '.join(labels)}", markup=False)
    if job.failed:
        log.print(f"{job.failed} of the stored runs failed; --retry-failed runs them again")
    if len(job.damage):
        log.print(f"warning: {escape(job.damage.summary())}")


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


def show(made: Report) -> None:
    """Print the leaderboard and say where the files are."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(title=escape(made.name), title_justify="left", caption_justify="left", box=None, pad_edge=False)
    averages = made.board.datasets if made.board.several else ()
    for column in (
        "method",
        made.unit,
        *averages,
        "95 % interval",
        "rank",
        made.time.head.replace(" per run", "/run"),
        "family",
        "selected by",
    ):
        left = column in ("method", "family", "selected by")
        table.add_column(column, justify="left" if left else "right", no_wrap=column == "method")
    for row in made.board.rows:
        name = escape(row.label) + (f" [italic]† {row.mark}[/italic]" if row.mark else "")
        interval = "" if math.isnan(row.low) else f"{made.show(row.low)} to {made.show(row.high)}"
        number = f"[yellow]{escape(row.problem)}[/yellow]" if row.problem else made.show(row.mean)
        rank = "" if math.isnan(row.rank) else f"{row.rank:.2f}"
        of = [made.show(v) for v in row.averages] if averages else []
        table.add_row(name, number, *of, interval, rank, made.time.show(row), row.family, escape(row.selected_by))
    console.print(table)
    console.print(f"[dim]{escape(rule_sentence(made))}[/dim]")
    failed = sum(c.failed for c in made.board.cells.values())
    if failed:
        console.print(f"[yellow]{failed} runs failed[/yellow]; the page lists them with their errors")
    for problem in [made.runs.damage.summary(), *made.problems]:
        if problem:
            console.print(f"[yellow]{escape(problem)}[/yellow]", soft_wrap=True)
    _findings(made, console)
    console.print(f"page: {escape(str(made.folder / 'leaderboard.html'))}", soft_wrap=True)


def _findings(made: Report, console: Console) -> None:
    """What went wrong in runs that did not fail: each finding where there are few, else how many of each kind."""
    from dazoo.bench.report.sections import sections_of, told

    found = sections_of(made).findings
    if 0 < len(found) <= FEW_FINDINGS:
        for text in told(found):
            console.print(f"[yellow]finding:[/yellow] {escape(text)}", soft_wrap=True)
    elif found:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in found).most_common())
        console.print(f"[yellow]{len(found)} findings[/yellow] ({kinds}); the page and leaderboard.md list them")
