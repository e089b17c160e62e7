"""The CSV tables of a report."""

from __future__ import annotations

from dazoo.bench.analysis.table import Row
from dazoo.bench.report.model import Report
from dazoo.bench.report.text import csv_text, number
from dazoo.bench.report.words import problem
from dazoo.data.names import split_name

PER_TASK = ("method", "source", "target", "metric", "mean", "std", "n_seeds", "selected_by")
OVERALL = ("method", "family", "mean", "ci_low", "ci_high", "mean_rank", "seconds", "selected_by")
SECONDS = ("method", "source", "target", "seconds", "cpu_seconds", "device_seconds", "n_runs")
DATASET, AVERAGE, METRIC = "dataset", "mean.", "metric."
"""A further column of tables of several datasets, and how those of their averages and of further metrics begin."""


def leaderboard_csv(made: Report) -> str:
    """One row per method, best first. A method without a number has the reason in the column ``mean``; of several
    datasets, the average of each stands in a column ``mean.DATASET``; metrics beside the shown one in
    ``metric.NAME``."""
    averages = [f"{AVERAGE}{d}" for d in made.board.datasets] if made.board.several else []
    rows = (
        [*_overall(row), *map(number, row.averages if averages else ()), *map(number, row.beside)]
        for row in made.board.rows
    )
    return csv_text((*OVERALL, *averages, *_further(made)), rows)


def _overall(row: Row) -> list[str]:
    numbers = [row.problem or number(row.mean), number(row.low), number(row.high), number(row.rank, 3)]
    return [row.label, row.family, *numbers, number(row.seconds, 3), row.selected_by]


def per_task_csv(made: Report) -> str:
    """One row per method and task. A cell without a number has the reason in the column ``mean``; of several datasets,
    a further column says which; metrics beside the shown one stand in ``metric.NAME``."""
    rows = []
    for row in made.board.rows:
        for task in made.board.tasks:
            cell = made.board.cells.get((row.label, task))
            if cell is None:
                continue
            dataset, sources, target = split_name(task)
            mean = number(cell.mean) or problem(cell)
            where = [row.label, "+".join(sources), target, made.board.metric]
            numbers = [mean, number(cell.std), str(len(cell.values)), cell.selected_by]
            rows.append([*where, *numbers, *_if_several(made, dataset), *map(number, cell.beside)])
    return csv_text((*PER_TASK, *_if_several(made, DATASET), *_further(made)), rows)


def seconds_csv(made: Report) -> str:
    """Seconds of a run on average per method and task: of the wall, of processors and of a device, where recorded."""
    rows = []
    for (label, task), cell in sorted(made.board.cells.items()):
        dataset, sources, target = split_name(task)
        times = [number(v, 3) for v in (cell.seconds, cell.cpu_seconds, cell.device_seconds)]
        count = str(cell.total - cell.failed)
        rows.append([label, "+".join(sources), target, *times, count, *_if_several(made, dataset)])
    return csv_text((*SECONDS, *_if_several(made, DATASET)), rows)


def _if_several(made: Report, word: str) -> list[str]:
    """Another column where the tasks are of several datasets; tables of one dataset need none."""
    return [word] if made.board.several else []


def _further(made: Report) -> list[str]:
    """Heads of the columns of the metrics beside the shown one."""
    return [f"{METRIC}{name}" for name in made.board.beside]
