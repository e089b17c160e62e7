"""The model of a report: what the records of a result folder say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dazoo.bench.analysis.read import read_runs
from dazoo.bench.analysis.runs import Runs
from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.table import Leaderboard, Row, leaderboard
from dazoo.bench.analysis.timing import Time
from dazoo.bench.metrics.formulas import is_share
from dazoo.bench.metrics.registry import title
from dazoo.bench.plan.beside import read_beside
from dazoo.bench.plan.suite import DEFAULT_RULE, LAST, ORACLE_RULE
from dazoo.bench.records.store import FOLDER
from dazoo.bench.report.origins import Origins
from dazoo.core.errors import DazooError, nearest
from dazoo.data.names import dataset_of


@dataclass(frozen=True)
class Report:
    """What the records of a folder say.

    Attributes:
        name, description: of the suite. suite_text: the suite file as it was copied.
        runs: all runs. board: the leaderboard under the suite's rule.
        environment: of the last execution. plan: number of planned runs and what was skipped.
        origins: what else the records say about each run.
        problems: sentences about damaged files beside the records.
        derived: what others computed from the report once, by name.
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
    problems: list[str] = field(default_factory=list)
    derived: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def percent(self) -> bool:
        return is_share(self.board.metric)

    def show(self, value: float, digits: int = 2, metric: str = "") -> str:
        """A value of the metric, or of another one, for reading: shares in percent, empty where there is none."""
        if math.isnan(value):
            return ""
        share = is_share(metric) if metric else self.percent
        return f"{100 * value:.{digits}f}" if share else f"{value:.{digits + 2}f}"

    def beside(self, row: Row | Cell, digits: int = 2) -> list[str]:
        """The values of a row or cell of the metrics that stand beside the shown one."""
        return [self.show(v, digits, name) for name, v in zip(self.board.beside, row.beside)]

    @property
    def beside_heads(self) -> list[str]:
        """Names of these metrics; with what they are shown in, where that is not what the first is shown in."""
        return [title(n) if is_share(n) == self.percent else unit_of(n) for n in self.board.beside]

    @cached_property
    def time(self) -> Time:
        """What the column of seconds holds."""
        return Time.of(self.board.rows)

    @cached_property
    def sets(self) -> dict[str, str]:
        """The registry's names of the datasets of all runs, by what the suite calls them."""
        first = {dataset_of(r.task): r for r in reversed(self.runs.runs)}
        setups = {d: self.origins.setups.values[self.origins.runs[r.key].setup] for d, r in sorted(first.items())}
        return {d: str(setup.get("dataset") or d) for d, setup in setups.items()}

    @property
    def unit(self) -> str:
        return unit_of(self.board.metric)

    @property
    def failures(self) -> list[tuple[Cell, str]]:
        """Failed cells with each of their error messages."""
        return [(c, e) for c in self.board.cells.values() for e in c.errors]


def unit_of(metric: str) -> str:
    """A metric's name for reading, with what it is shown in."""
    return title(metric) + (" (%)" if is_share(metric) else "")


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
    beside = read_beside(folder, needs_suite=select_by is None)
    suite = beside.suite
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
        suite_text=beside.suite_text,
        runs=runs,
        board=leaderboard(runs.runs, rule, metric),
        environment=beside.environment,
        plan=beside.plan,
        origins=origins,
        problems=beside.problems,
    )
