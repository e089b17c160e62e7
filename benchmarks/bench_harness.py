"""Overhead of the harness: planning a suite, storing and reading records, selecting, importing the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dazoo.bench.plan import make_plan
from dazoo.bench.store import Writer, records, stored
from dazoo.bench.suite import Suite

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


def test_import(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "harness"
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", "import dazoo"], check=True), rounds=3)
