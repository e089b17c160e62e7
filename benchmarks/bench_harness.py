"""Overhead of the harness: planning a suite, storing and reading records, selecting, importing the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dazoo.bench.analysis.statistics import bootstrap_interval
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Writer, records, stored
from dazoo.bench.report.build import report
from dazoo.bench.suite_run import run_suite

torch.set_num_threads(1)
RUNS = 1000


def big_suite() -> Suite:
    return Suite.of(
        {
            "name": "overhead",
            "dataset": "digits",
            "methods": ["source_only", "coral", "sa", "tca", "dann", "cdan", "dan", "mcc"],
            "seeds": 5,
            "trials": 3,
            "recipe": "digits",
            "backbone": "mlp",
        }
    )


def write_records(folder: Path) -> None:
    writer = Writer(folder)
    points = [{"step": s, "scores": {"info_max": 0.1 * s}, "metrics": {"accuracy": 0.5}} for s in range(5)]
    for i in range(RUNS):
        writer.append(f"{i:064x}", "ok", {"task": "digits/a->b", "method": "dann", "points": points})
    writer.close()


def test_plan_of_3600_runs(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "harness"
    plan = benchmark.pedantic(lambda: make_plan(big_suite()), rounds=3, warmup_rounds=1)
    keys = {spec.key for spec in plan.specs}
    assert len(keys) == len(plan.specs) > 2000


def test_append_1000_records(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    benchmark.group = "harness"
    benchmark.pedantic(lambda: write_records(tmp_path), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("what", ["keys", "records"])
def test_read_1000_records(benchmark: BenchmarkFixture, tmp_path: Path, what: str) -> None:
    write_records(tmp_path)
    read = (lambda: len(stored(tmp_path)[0])) if what == "keys" else (lambda: sum(1 for _ in records(tmp_path)))
    benchmark.group = "harness"
    assert benchmark.pedantic(read, rounds=5, warmup_rounds=1) == RUNS


def test_plan_of_10000_finished_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """What ``dazoo run`` does before it finds that there is nothing to do."""
    base = {"name": "overhead", "dataset": "digits", "backbone": "none", "classifier": "1nn"}
    suite = Suite.of({**base, "tasks": "*->*", "methods": ["source_only", "coral", "sa"], "seeds": 112})
    writer = Writer(tmp_path)
    for spec in make_plan(suite).specs:
        body = {"variant": spec.variant, "spec": spec.to_json(), "checkpoints": [{"step": 1}] * 20}
        writer.append(spec.key, "ok", body)
    writer.close()
    benchmark.group = "harness"
    assert benchmark.pedantic(lambda: make_plan(suite).missing(stored(tmp_path)[0]), rounds=3) == []


def test_report_of_10000_runs(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Twenty methods on fifty tasks with ten seeds, twenty checkpoints and twenty validators."""
    writer = Writer(tmp_path)
    names = [f"some_validator_{i:02d}" for i in range(19)] + ["info_max"]
    points = [
        {
            "step": j + 1,
            "fraction": (j + 1) / 20,
            "scores": {n: (0.123456789012345 + i / 997) * (j + 1) for i, n in enumerate(names)},
            "target": {"accuracy": 0.5 + j / 100},
        }
        for j in range(20)
    ]
    for i in range(10_000):
        m, t, seed = i // 500, i // 10 % 50, i % 10
        label = f"method_{m:02d}"
        spec = {"label": label, "method": label, "family": "f", "task": f"toy/a{t:02d}->b"}
        spec |= {"setting": "unsupervised", "seed": seed, "trial": 0}
        body = {"variant": "v", "started": "2024", "spec": spec, "checkpoints": points, "seconds": 1.0}
        writer.append(f"{i:064x}", "ok", body)
    writer.close()
    benchmark.group = "report"
    made = benchmark.pedantic(lambda: report(tmp_path), rounds=1)
    assert len(made.runs.runs) == 10_000


def test_intervals_of_a_leaderboard(benchmark: BenchmarkFixture) -> None:
    """Bootstrap intervals of 60 methods on twelve tasks with five seeds."""
    rng = np.random.default_rng(0)
    rows = [list(rng.normal(0.6, 0.02, (12, 5)) + rng.normal(0, 0.1, (12, 1))) for _ in range(60)]
    benchmark.group = "report"
    assert len(benchmark(lambda: [bootstrap_interval(r) for r in rows])) == 60


def test_watching_costs_little(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The share of a run's time that its checkpoints take."""
    suite = {"name": "watched", "dataset": "digits", "methods": ["dann", "coral"], "tasks": "upright->noisy",
             "seeds": 1, "backbone": "mlp", "recipe": "digits", "classifier": "logistic"}  # fmt: skip
    benchmark.group = "harness"
    benchmark.pedantic(lambda: run_suite(suite, out=tmp_path, device="cpu"), rounds=1)
    for record in records(tmp_path):
        share = record["seconds_evaluation"] / (record["seconds"] + record["seconds_evaluation"])
        benchmark.extra_info[record["spec"]["label"]] = round(share, 3)
        assert share <= 0.15, f"{record['spec']['label']}: {share:.2f}"


def test_help(benchmark: BenchmarkFixture) -> None:
    """How long ``dazoo --help`` takes to answer."""
    command = [sys.executable, "-m", "dazoo.cli", "--help"]
    benchmark.group = "harness"
    benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True), rounds=3)


def test_import(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "harness"
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", "import dazoo"], check=True), rounds=3)
