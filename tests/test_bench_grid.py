"""Columns say what loops over runs and cells said, bit for bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dazoo.bench.analysis.grid import Grid
from dazoo.bench.analysis.read import read_runs
from dazoo.bench.analysis.regret import regrets
from dazoo.bench.analysis.runs import Run, run_of
from dazoo.bench.analysis.select import cells_of
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer, records
from dazoo.bench.report.model import load_report
from dazoo.bench.report.sections import sections_of
from tests.bench_tools import write_run
from tests.rowwise import regrets_rowwise, select_rowwise

RESULTS = Path(__file__).parent.parent / "results"


def same(a: Any, b: Any) -> bool:
    """Equal in every bit, NaN equal to NaN."""
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.tobytes() == np.asarray(b, a.dtype).tobytes()
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def check(runs: list[Run], metric: str) -> None:
    grid = Grid(runs)
    rules = [*sorted({v for r in runs for v in r.validators}), "unknown", LAST, ORACLE_RULE]
    choices = {rule: grid.select(rule, metric) for rule in rules}
    expected = {rule: select_rowwise(runs, rule, metric) for rule in rules}
    for rule in rules:
        found = cells_of(choices[rule])
        assert len(found) == len(expected[rule])
        for one, two in zip(found, expected[rule]):
            assert all(same(getattr(one, n), getattr(two, n)) for n in one.__dataclass_fields__), (rule, one, two)
        assert same(choices[rule].mean, np.array([c.mean for c in expected[rule]]))
    boards = {rule: {(c.label, c.task): c for c in cells} for rule, cells in expected.items()}
    for one, two in zip(regrets(grid, choices, ("oracle",)), regrets_rowwise(runs, boards, metric, ("oracle",))):
        assert all(same(getattr(one, n), getattr(two, n)) for n in one.__dataclass_fields__), (one, two)


def made_up(folder: Path, seed: int) -> None:
    """Runs with gaps, ties, failures, missing seeds, other validators and more checkpoints than others."""
    rng = np.random.default_rng(seed)
    writer = Writer(folder)
    for label in ("a", "b", "c", "d"):
        n = int(rng.integers(1, 6))
        for task in ("toy/x->y", "toy/y->x", "toy/x->z"):
            seeds = int(rng.integers(1, 12))
            for trial in range(int(rng.integers(1, 5))):
                for s in range(seeds):
                    if rng.random() < 0.05:
                        continue
                    names = ["v", "w"] if rng.random() < 0.8 else ["w", "u"]
                    scores = [
                        {m: None if rng.random() < 0.1 else float(rng.integers(0, 5)) / 7 for m in names}
                        for _ in range(n)
                    ]
                    lost = rng.random() < 0.02
                    write_run(
                        writer, label, task, s, trial, scores,
                        [{"accuracy": None if lost else round(float(rng.random()), 1)} for _ in range(n)],  # type: ignore[dict-item]
                        status="failed" if rng.random() < 0.05 else "ok",
                        setting="oracle" if label == "d" else "unsupervised",
                        predicted=[{"target": float(rng.random() * 3), "source": 3.0} for _ in range(n)],
                        curves={"x": [(i, 0.0) for i in range(6)]} if rng.random() < 0.5 else None,
                        more={"cpu_seconds": float(rng.random())} if rng.random() < 0.5 else None,
                    )  # fmt: skip
    writer.close()


@pytest.mark.parametrize("seed", range(4))
def test_selection_and_regret_of_made_up_runs(tmp_path: Path, seed: int) -> None:
    made_up(tmp_path, seed)
    check(read_runs(tmp_path).runs, "accuracy")


@pytest.mark.parametrize("name", ["digits", "regret_digits", "office_caltech10_surf"])
def test_selection_and_regret_of_committed_results(name: str) -> None:
    check(read_runs(RESULTS / name).runs, "accuracy")


@pytest.mark.parametrize("compacted", [False, True])
def test_runs_from_columns_are_those_of_their_records(tmp_path: Path, compacted: bool) -> None:
    made_up(tmp_path, 7)
    if compacted:
        compact(tmp_path)
    expected = {r["key"]: run_of(r, {}) for r in records(tmp_path)}
    found = read_runs(tmp_path).runs
    assert {r.key for r in found} == set(expected)
    for run in found:
        assert all(same(getattr(run, n), getattr(expected[run.key], n)) for n in Run.__dataclass_fields__)


def test_a_method_without_a_number_on_some_task_has_no_mean(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for task in ("toy/x->y", "toy/y->x"):
        write_run(writer, "whole", task, target=[{"accuracy": 0.5}])
    write_run(writer, "half", "toy/x->y", target=[{"accuracy": 0.5}])
    means = Grid(read_runs(tmp_path).runs).select(LAST, "accuracy").means()
    assert means["whole"] == 0.5 and math.isnan(means["half"])


@pytest.mark.parametrize("name", ["digits", "digits_and_shifts"])
def test_the_column_of_the_suites_rule_is_the_leaderboard(name: str) -> None:
    made = load_report(RESULTS / name)
    sections = sections_of(made)
    at = list(sections.means).index(made.board.rule)
    rows = {label: values[at] for label, _, values in sections.rule_rows()}
    assert rows == {r.label: r.mean for r in made.board.rows if not math.isnan(r.mean)}
