"""Runs as columns: what every rule selects, for all methods and tasks at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dazoo.bench.analysis.runs import Run, as_baseline
from dazoo.bench.metrics.formulas import higher_is_better
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.data.names import dataset_of

Place = tuple[str, str]


@dataclass(frozen=True)
class Trials:
    """The trials that may be selected, by number of seeds: those that succeeded with every seed of their cell.

    Attributes:
        cell, trial: of each, (n,). starts: where the trials of each of its ``cells`` begin; they stand together.
        runs: positions of the runs (n, seeds), seeds in order.
    """

    cell: np.ndarray
    trial: np.ndarray
    cells: np.ndarray
    starts: np.ndarray
    runs: np.ndarray


class Grid:
    """Runs of any number of methods and tasks; a cell is a method on a task.

    Attributes:
        runs: as given. places: (label, task) of every cell, in the order of the first run of each.
        members: positions of the runs of every cell.
        validators: all names. chosen, tops: of ``Run``, (runs, validators); minus infinity where there is no score.
    """

    def __init__(self, runs: Sequence[Run]):
        self.runs = runs
        groups: dict[Place, list[int]] = {}
        for i, run in enumerate(runs):
            groups.setdefault((run.label, run.task), []).append(i)
        self.places = list(groups)
        self.members = list(groups.values())
        alike: dict[tuple[str, ...], list[int]] = {}
        for i, run in enumerate(runs):
            alike.setdefault(run.validators, []).append(i)
        self.validators = list(dict.fromkeys(name for names in alike for name in names))
        at = {name: j for j, name in enumerate(self.validators)}
        self.chosen = np.zeros((len(runs), len(at)), dtype=np.int64)
        self.tops = np.full(self.chosen.shape, -np.inf)
        for names, rows in alike.items():
            where = np.ix_(rows, [at[name] for name in names])
            self.chosen[where] = np.stack([runs[i].chosen for i in rows])
            self.tops[where] = np.stack([runs[i].tops for i in rows])
        self.last = np.array([len(r.target) - 1 for r in runs], dtype=np.int64)
        self._metrics: dict[str, np.ndarray] = {}

    @cached_property
    def trials(self) -> list[Trials]:
        """What may be selected."""
        found: dict[int, list[tuple[int, int, list[int]]]] = {}
        for place, members in enumerate(self.members):
            seeds = sorted({self.runs[i].seed for i in members})
            trials: dict[int, dict[int, int]] = {}
            for i in members:
                if self.runs[i].ok:
                    trials.setdefault(self.runs[i].trial, {})[self.runs[i].seed] = i
            for name, of in sorted(trials.items()):
                if len(of) == len(seeds):
                    found.setdefault(len(seeds), []).append((place, name, [of[s] for s in seeds]))
        made = []
        for several in found.values():
            cell, trial, positions = (np.array(part, dtype=np.int64) for part in zip(*several))
            cells, starts = np.unique(cell, return_index=True)
            made.append(Trials(cell, trial, cells, starts, positions))
        return made

    def metric(self, name: str) -> np.ndarray:
        """Values (runs, checkpoints) of a metric, NaN where a run has no such checkpoint or no number."""
        if name not in self._metrics:
            values = np.full((len(self.runs), self.last.max(initial=0) + 1), np.nan)
            self._fill(values, [run.metric(name) for run in self.runs])
            self._metrics[name] = values
        return self._metrics[name]

    @cached_property
    def predicted(self) -> np.ndarray:
        """``Run.predicted`` (runs, checkpoints, 2), NaN where a run has no such checkpoint."""
        values = np.full((len(self.runs), self.last.max(initial=0) + 1, 2), np.nan)
        self._fill(values, [run.predicted for run in self.runs])
        return values

    def _fill(self, values: np.ndarray, parts: list[np.ndarray]) -> None:
        for last in np.unique(self.last):
            rows = np.flatnonzero(self.last == last)
            values[rows, : last + 1] = np.stack([parts[i] for i in rows])

    def picks(self, rule: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """The checkpoint that a rule chooses in each run, and its score: the last one and minus infinity where no score
        is defined."""
        if rule == LAST:
            return self.last, np.zeros(len(self.runs))
        if rule != ORACLE_RULE:
            if rule not in self.validators:
                return self.last, np.full(len(self.runs), -np.inf)
            j = self.validators.index(rule)
            score = self.tops[:, j]
            return np.where(score > -np.inf, self.chosen[:, j], self.last), score
        values = self.metric(metric)
        known = np.where(values == values, values if higher_is_better(metric) else -values, -np.inf)
        point = known.argmax(1)
        score = known[np.arange(len(known)), point]
        return np.where((values == values).any(1), point, self.last), score

    def select(self, rule: str, metric: str) -> Choice:
        """What a rule selects: of the trials that succeeded with every seed that with the best mean score over seeds,
        of each of its runs the best checkpoint."""
        points, scores = self.picks(rule, metric)
        values = self.metric(metric)
        shape = len(self.places)
        choice = Choice(self, rule, metric, np.full(shape, np.nan), np.zeros(shape, bool), {}, {})
        for part in self.trials:
            seeds = part.runs.shape[1]
            quality = np.add.reduce(np.ascontiguousarray(scores[part.runs]), axis=1) / seeds
            best = np.maximum.reduceat(quality, part.starts)
            # of equally good trials the first
            hits = np.flatnonzero(quality == np.repeat(best, np.diff([*part.starts, len(quality)])))
            _, first = np.unique(part.cell[hits], return_index=True)
            runs = part.runs[hits[first]]
            chosen = points[runs]
            numbers = np.ascontiguousarray(values[runs, chosen])
            defined = np.isfinite(scores[runs])
            choice.mean[part.cells] = np.add.reduce(numbers, axis=1) / seeds
            choice.undefined[part.cells] = ~defined.any(1)
            choice.trial.update(zip(part.cells.tolist(), part.trial[hits[first]].tolist()))
            whole = ~np.isnan(numbers).any(1)  # else the target has no labels, or the validator no score
            for cell, *of in zip(part.cells[whole].tolist(), *(x[whole] for x in (runs, chosen, numbers, defined))):
                choice.selected[cell] = tuple(of)
        return choice

    @cached_property
    def facts(self) -> list[dict[str, Any]]:
        """What of a cell no rule decides."""
        found = []
        for members in self.members:
            group = [self.runs[i] for i in members]
            first, good, failures = group[0], [r for r in group if r.ok], [r for r in group if not r.ok]
            found.append(
                {
                    "label": first.label,
                    "method": first.method,
                    "family": first.family,
                    "task": first.task,
                    "setting": first.setting,
                    "failed": len(failures),
                    "total": len(group),
                    "errors": tuple(dict.fromkeys(r.error for r in failures)),
                    "baseline": any(map(as_baseline, group)),
                    "reads_source": any(r.reads_source for r in group),
                    "seconds": mean_of([r.seconds for r in good]),
                    "cpu_seconds": mean_of([r.cpu_seconds for r in good]),
                    "device_seconds": mean_of([r.device_seconds for r in good]),
                }
            )
        return found


@dataclass(frozen=True)
class Choice:
    """What a rule selects.

    Attributes:
        mean: of the metric over seeds per cell, NaN where there is no number.
        undefined: whether the rule had no score at all in a cell.
        trial: the selected trial by cell. selected: by cell with a number, its runs, checkpoints, values and whether
            the rule had a score, in the order of seeds.
    """

    grid: Grid
    rule: str
    metric: str
    mean: np.ndarray
    undefined: np.ndarray
    trial: dict[int, int]
    selected: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]

    def means(self) -> dict[str, float]:
        """The mean of a row by label, as the leaderboard has it: NaN for a method that lacks a number on some task."""
        tasks = sorted({task for _, task in self.grid.places})
        of: dict[str, dict[str, float]] = {}
        for (label, task), mean in zip(self.grid.places, self.mean.tolist()):
            of.setdefault(label, {})[task] = mean
        return {label: float(np.mean(tuple(averages_of(means, tasks).values()))) for label, means in of.items()}


def averages_of(means: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """Mean over the tasks of each dataset, NaN where one of them has no number."""
    found: dict[str, list[float]] = {}
    for task in tasks:
        found.setdefault(dataset_of(task), []).append(means.get(task, math.nan))
    return {dataset: float(np.mean(values)) for dataset, values in found.items()}


def mean_of(values: Sequence[float]) -> float:
    """The mean of the values that are no NaN; NaN where there are none."""
    known = [v for v in values if not math.isnan(v)]
    # ``np.mean`` bit for bit, at a third of its time
    return float(np.add.reduce(known)) / len(known) if known else math.nan
