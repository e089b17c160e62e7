"""The command ``report``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape

from dazoo.bench.report.build import NotWritten, report
from dazoo.bench.report.latex import Layout
from dazoo.bench.report.model import Report
from dazoo.bench.report.sections import sections_of, told
from dazoo.bench.report.words import BASELINE, baselines, rule_sentence
from dazoo.cli.mirrored import mirrored
from dazoo.cli.shown import Shown, print_shown

FEW_FINDINGS = 6


@mirrored
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
    with shown_anyway():
        show(report(folder, select_by, metric, scatter, methods or [], layout, figures))


@contextmanager
def shown_anyway() -> Iterator[None]:
    """Show a report whose files could not all be written, before that ends the command."""
    try:
        yield
    except NotWritten as error:
        show(error.report)
        raise


def show(made: Report) -> None:
    """Print a leaderboard and say where the files are."""
    print_shown(shown_of(made))


def shown_of(made: Report) -> Shown:
    """What is printed of a report."""
    averages = made.board.datasets if made.board.several else ()
    time = made.time.head.replace(" per run", "/run")
    heads = ["method", made.unit, *averages, *made.beside_heads, "95 % interval", "rank", time, "family", "selected by"]
    rows = []
    for row in made.board.rows:
        name = escape(row.label) + (f" [italic]† {row.mark}[/italic]" if row.mark else "")
        name += f" {BASELINE}" if row.baseline else ""
        interval = "" if math.isnan(row.low) else f"{made.show(row.low)} to {made.show(row.high)}"
        number = f"[yellow]{escape(row.problem)}[/yellow]" if row.problem else made.show(row.mean)
        rank = "" if math.isnan(row.rank) else f"{row.rank:.2f}"
        of = ([made.show(v) for v in row.averages] if averages else []) + made.beside(row)
        rows.append([name, number, *of, interval, rank, made.time.show(row), row.family, escape(row.selected_by)])
    below = [f"[dim]{escape(rule_sentence(made))}[/dim]"]
    below += [f"[dim]{escape(text)}[/dim]" for text in [baselines(made)] if text]
    failed = sum(c.failed for c in made.board.cells.values())
    if failed:
        below.append(f"[yellow]{failed} runs failed[/yellow]; the page lists them with their errors")
    problems = [made.runs.damage.summary(), *made.problems]
    below += [f"[yellow]{escape(problem)}[/yellow]" for problem in problems if problem]
    below += [*_findings(made), f"page: {escape(str(made.folder / 'leaderboard.html'))}"]
    return Shown(escape(made.name), heads, rows, below, made.beside_heads)


def _findings(made: Report) -> list[str]:
    """What went wrong in runs that did not fail: each finding where there are few, else how many of each kind."""
    found = sections_of(made).findings
    if len(found) <= FEW_FINDINGS:
        return [f"[yellow]finding:[/yellow] {escape(text)}" for text in told(found)]
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(f.kind for f in found).most_common())
    return [f"[yellow]{len(found)} findings[/yellow] ({kinds}); the page and leaderboard.md list them"]
