"""Leaderboards as Markdown, CSV and one self-contained HTML page, made from the records of a result folder alone."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dazoo.bench.analysis.metrics import SCORE, SHARES
from dazoo.bench.analysis.select import ORACLE_LABEL, Cell, Runs, read_runs
from dazoo.bench.analysis.table import Leaderboard, Row, leaderboard
from dazoo.bench.analysis.timing import Time
from dazoo.bench.plan.suite import DEFAULT_RULE, LAST, ORACLE_RULE, Suite
from dazoo.bench.records.store import FOLDER
from dazoo.bench.report.provenance import Origins
from dazoo.core.errors import DazooError, nearest
from dazoo.core.files import write_text
from dazoo.data.registry import split_name

if TYPE_CHECKING:
    from dazoo.bench.report.sections import Sections

PER_TASK = ("method", "source", "target", "metric", "mean", "std", "n_seeds", "selected_by")
OVERALL = ("method", "family", "mean", "ci_low", "ci_high", "mean_rank", "seconds", "selected_by")
SECONDS = ("method", "source", "target", "seconds", "cpu_seconds", "device_seconds", "n_runs")


@dataclass(frozen=True)
class Report:
    """What the records of a folder say.

    Attributes:
        name, description: of the suite. suite_text: the suite file as it was copied.
        runs: all runs. board: the leaderboard under the suite's rule.
        environment: of the last execution. plan: number of planned runs and what was skipped.
        origins: what else the records say about each run.
    """

    folder: Path
    name: str
    description: str
    suite_text: str
    runs: Runs
    board: Leaderboard
    environment: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    origins: Origins = field(default_factory=Origins)

    @property
    def percent(self) -> bool:
        return self.board.metric in SHARES

    def show(self, value: float, digits: int = 2) -> str:
        """A value of the metric for reading: shares in percent, empty where there is none."""
        if math.isnan(value):
            return ""
        return f"{100 * value:.{digits}f}" if self.percent else f"{value:.{digits + 2}f}"

    @cached_property
    def sections(self) -> Sections:
        """Selection rules side by side, and findings."""
        from dazoo.bench.report.sections import Sections

        return Sections(self)

    @cached_property
    def time(self) -> Time:
        """What the column of seconds holds."""
        return Time.of(self.board.rows)

    @property
    def unit(self) -> str:
        return self.board.metric.replace("_", " ") + (" (%)" if self.percent else "")

    @property
    def failures(self) -> list[tuple[Cell, str]]:
        """Failed cells with each of their error messages."""
        return [(c, e) for c in self.board.cells.values() for e in c.errors]


def load_report(folder: str | Path, select_by: str | None = None, metric: str | None = None) -> Report:
    """Read a result folder.

    Args:
        select_by: a rule to use instead of the suite's.
        metric: a target metric to report instead of the suite's.

    Raises:
        DazooError: there are no records, or the rule or metric is not among what they hold.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DazooError(f"there is no folder {folder}; 'dazoo run SUITE --out {folder}' makes it")
    if not (folder / FOLDER).is_dir():
        raise DazooError(f"{folder} holds no records; run a suite with --out {folder} first")
    origins = Origins()
    runs = read_runs(folder, origins.note)
    if not runs.runs:
        raise DazooError(f"{folder} holds no usable record ({runs.damage.summary() or 'the shards are empty'})")
    copy = folder / "suite.yaml"
    suite = Suite.load(copy) if copy.is_file() else None
    rule = select_by or (suite.select_by if suite else DEFAULT_RULE)
    validators = sorted({v for r in runs.runs for v in r.validators})
    metrics = sorted({m for r in runs.runs for m in r.metrics})
    if rule not in (LAST, ORACLE_RULE) and select_by and validators and rule not in validators:
        known = [*validators, LAST, ORACLE_RULE]
        from dazoo.validators.base import VALIDATORS

        remedy = f"dazoo rescore {folder} --validators {rule}" if rule in VALIDATORS else nearest(rule, known)
        raise DazooError(f"the records hold no scores of a validator {rule!r}: {remedy}")
    metric = metric or (suite.metric if suite else None)
    if metric and metrics and metric not in metrics:
        raise DazooError(f"the records hold no metric {metric!r}: {nearest(metric, metrics)}")
    return Report(
        folder=folder,
        name=suite.name if suite else folder.resolve().name,
        description=" ".join(suite.description.split()) if suite else "",
        suite_text=copy.read_text(encoding="utf-8") if suite else "",
        runs=runs,
        board=leaderboard(runs.runs, rule, metric),
        environment=_json(folder / "environment.json"),
        plan=_json(folder / "plan.json"),
        origins=origins,
    )


def report(
    folder: str | Path,
    select_by: str | None = None,
    metric: str | None = None,
    scatter: str = "pca",
    scatter_methods: Sequence[str] = (),
) -> Report:
    """Rebuild ``leaderboard.{md,csv,html,tex}``, ``per_task.csv``, ``seconds.csv``, ``validators.csv`` and figures.

    All of it comes from records alone. The figures are written as PDF and PNG where Matplotlib is installed; the page
    holds them in any case. The scatter of features comes from kept outputs, or from ``scatter.json``, where its
    coordinates are kept.

    Args:
        scatter: ``pca`` or ``tsne``. scatter_methods: whose features are shown, instead of a choice by the numbers.

    Raises:
        DazooError: as of ``load_report``. NotWritten: some files cannot be written; all others are.
    """
    made = load_report(folder, select_by, metric)
    from dazoo.bench.report import curves
    from dazoo.bench.report import scatter as features
    from dazoo.bench.report.figures import figures
    from dazoo.bench.report.latex import latex
    from dazoo.bench.report.page import page

    learned = curves.curves_of(made)
    points = features.scatter(made, scatter, scatter_methods)
    texts = {
        "leaderboard.csv": leaderboard_csv(made),
        "per_task.csv": per_task_csv(made),
        "seconds.csv": seconds_csv(made),
        "validators.csv": made.sections.validators_csv(),
        "leaderboard.md": markdown(made),
        "leaderboard.tex": latex(made),
        "leaderboard.html": page(made, learned, points),
    }
    steps: list[Callable[[], object]] = [partial(write, made.folder / name, text) for name, text in texts.items()]
    drawn = (*figures(made), curves.figure(made, learned), features.figure(points))
    steps += [partial(figure.save, made.folder) for figure in drawn if figure is not None]
    steps += [partial(features.store, made.folder, points)]
    problems = [problem for step in steps if (problem := _tried(step))]
    if problems:
        raise NotWritten(made, problems)
    return made


class NotWritten(DazooError):
    """Some files of a report could not be written; the others are there, and ``report`` is what they say."""

    def __init__(self, made: Report, problems: list[str]):
        self.report = made
        super().__init__(f"{'; '.join(problems)}; make room and write them again with: dazoo report {made.folder}")


def _tried(step: Callable[[], object]) -> str:
    """What file a step could not write, and why."""
    try:
        step()
    except OSError as error:
        return f"{error.filename} could not be written ({error.strerror or error})"
    return ""


def write(path: Path, text: str) -> None:
    """Put a whole file in place at once, flushed to disk."""
    write_text(path, text)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


# -- CSV ----------------------------------------------------------------------------------------------------------


def leaderboard_csv(made: Report) -> str:
    """One row per method, best first. A method without a number has the reason in the column ``mean``."""
    return csv_text(OVERALL, (_overall(row) for row in made.board.rows))


def _overall(row: Row) -> list[str]:
    numbers = [row.problem or number(row.mean), number(row.low), number(row.high), number(row.rank, 3)]
    return [row.label, row.family, *numbers, number(row.seconds, 3), row.selected_by]


def per_task_csv(made: Report) -> str:
    """One row per method and task. A cell without a number has the reason in the column ``mean``."""
    rows = []
    for row in made.board.rows:
        for task in made.board.tasks:
            cell = made.board.cells.get((row.label, task))
            if cell is None:
                continue
            _, sources, target = split_name(task)
            mean = number(cell.mean) or problem(cell)
            where = [row.label, "+".join(sources), target, made.board.metric]
            rows.append([*where, mean, number(cell.std), str(len(cell.values)), cell.selected_by])
    return csv_text(PER_TASK, rows)


def seconds_csv(made: Report) -> str:
    """Seconds of a run on average per method and task: of the wall, of processors and of a device, where recorded."""
    rows = []
    for (label, task), cell in sorted(made.board.cells.items()):
        _, sources, target = split_name(task)
        times = [number(v, 3) for v in (cell.seconds, cell.cpu_seconds, cell.device_seconds)]
        rows.append([label, "+".join(sources), target, *times, str(cell.total - cell.failed)])
    return csv_text(SECONDS, rows)


def problem(cell: Cell) -> str:
    """Why a cell has no number."""
    if cell.failed:
        return f"failed {cell.failed} of {cell.total}"
    return "" if len(cell.values) else "incomplete"


def csv_text(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A CSV file with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_no_formula(cell) for cell in row] for row in rows)
    return out.getvalue()


def _no_formula(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "@", "\t", "\r") or re.match(r"-(?![\d.])", cell) else cell


def md(text: str) -> str:
    """Text of others as Markdown shows it: no element, link, emphasis, code or new line comes of it."""
    plain = re.sub(r"([\\`*\[\]])", r"\\\1", " ".join(text.split()))
    return re.sub(r"&(?=#?\w+;)", "&amp;", plain).replace("<", "&lt;")


def number(value: float, digits: int = 6) -> str:
    """A number with fixed digits, empty for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


# -- words --------------------------------------------------------------------------------------------------------


def rule_sentence(made: Report) -> str:
    """How trial and checkpoint were chosen, in one sentence."""
    rule = made.board.rule
    if made.board.label_free:
        by = made.board.metric.removeprefix(SCORE)
        chose = "the last checkpoint" if rule == LAST else "trial and checkpoint of highest score"
        return (
            f"No target label is known: methods are ranked by the label-free validator `{by}`, each by {chose}. "
            "A score is no accuracy, and the best score need not belong to the best method."
        )
    if rule == LAST:
        return "No selection: every number is the last checkpoint of the default hyper-parameters."
    if rule == ORACLE_RULE:
        return f"Selection by {ORACLE_LABEL}: an upper bound that no one without labels can reach."
    return (
        f"Trial and checkpoint of every run were chosen by the label-free validator `{rule}`; "
        "target labels were used for the final numbers only."
    )


def facts(made: Report) -> list[str]:
    """What a reader must know about the numbers."""
    board, runs = made.board, made.runs.runs
    seeds = sorted({len(c.values) for c in board.cells.values() if len(c.values)})
    shown = "no" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    known = any(not math.isnan(r.low) for r in board.rows)
    drawn = "tasks and seeds" if len(board.tasks) > 1 else "the seeds of this one task, not over tasks"
    interval = f"95 % bootstrap interval over {drawn}; " if known else ""
    found = [
        f"{len(board.tasks)} tasks, {len(board.rows)} methods, {shown} seed{'' if seeds == [1] else 's'} per task, "
        f"{len(runs)} runs.",
        f"Mean of {made.unit} over tasks; {interval}mean rank among the methods with the same view of target labels.",
    ]
    if any(r.no_interval for r in board.rows):
        found.append("No interval stands beside methods with one seed per task: one run does not show how runs differ.")
    if any(r.mark for r in board.rows):
        found.append("Methods marked with † see target labels and are no competitors of those that do not.")
    if made.time.note:
        found.append(made.time.note + made.origins.load())
    if board.unlabelled:
        found.append(f"Left out, since their target has no labels: {', '.join(board.unlabelled)}.")
    planned = made.plan.get("runs")
    if isinstance(planned, int) and planned > len(runs):
        found.append(f"Incomplete: {planned - len(runs)} of {planned} planned runs are missing.")
    found += [f"Skipped: {', '.join(labels)} ({reason})." for reason, labels in skipped(made.plan.get("skipped", []))]
    return found


def skipped(rows: Iterable[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The methods left out of some task, by reason."""
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(str(row["reason"]), set()).add(str(row["label"]))
    return [(reason, sorted(labels)) for reason, labels in sorted(groups.items())]


# -- Markdown -----------------------------------------------------------------------------------------------------


def markdown(made: Report) -> str:
    """The leaderboard and the table per task; depends on the records' results and times only."""
    board = made.board
    lines = [f"# {md(made.name)}", ""]
    lines += [md(made.description), ""] if made.description else []
    lines += [rule_sentence(made), ""] + [f"- {md(fact)}" for fact in facts(made)] + [""]
    head = ["method", "family", made.unit, "95 % interval", "mean rank", made.time.head, "selected by", "sees"]
    lines += md_table(head, [_md_row(made, row) for row in board.rows])
    lines += ["", "## Per task", "", f"Mean of {made.unit} over seeds, ± standard deviation.", ""]
    short = [t.partition("/")[2] for t in board.tasks]
    lines += md_table(["method", *short], [[_name(r), *_md_cells(made, r)] for r in board.rows])
    lines += made.sections.markdown()
    if made.failures:
        lines += ["", "## Failures", ""]
        for cell, error in made.failures:
            where = f"{cell.label} on {cell.task}: failed {cell.failed} of {cell.total} runs"
            lines.append(f"- {md(f'{where}: {error[:300]}')}")
    return "\n".join(lines) + "\n"


def _md_row(made: Report, row: Row) -> list[str]:
    interval = f"{made.show(row.low)} to {made.show(row.high)}" if not math.isnan(row.low) else row.no_interval
    numbers = [row.problem or made.show(row.mean), interval, number(row.rank, 2), made.time.show(row)]
    return [_name(row), row.family, *numbers, row.selected_by, row.mark or "no target labels"]


def _md_cells(made: Report, row: Row) -> list[str]:
    found = []
    for task in made.board.tasks:
        cell = made.board.cells.get((row.label, task))
        if cell is None:
            found.append("–")
        elif not len(cell.values):
            found.append(problem(cell))
        else:
            std = "" if math.isnan(cell.std) else f" ± {made.show(cell.std, 1)}"
            found.append(made.show(cell.mean, 1) + std)
    return found


def _name(row: Row) -> str:
    return row.label + (" †" if row.mark else "")


def md_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(md(c).replace("|", "\\|") for c in cells) + " |"

    return [line(head), line(["---"] * len(head)), *(line(r) for r in rows)]
