"""Seconds of runs: of the wall, of processors and of devices, in records, tables and pages."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from dazoo.bench.execute.clock import Spent, Stopwatch
from dazoo.bench.records.store import Writer, records
from dazoo.bench.report.build import report
from dazoo.bench.report.figures import figures
from dazoo.bench.suite_run import run_suite
from tests.bench_tools import SMALL, accuracies, write_run


def test_records_hold_seconds_of_the_processor_and_the_load(tmp_path: Path) -> None:
    """CPU seconds stand beside wall seconds for single runs and for members of a group, and in every table."""
    recipe = {"name": "frozen", "steps": 20, "bottleneck": 8}
    suite = {**SMALL, "methods": ["source_only", "deep_coral"], "recipe": recipe, "tasks": ["upright->noisy"]}
    for stack in (1, 4):
        made = run_suite({**suite, "seeds": 2}, out=tmp_path / str(stack), stack=stack)
        for record in records(made.folder):
            assert record["cpu_seconds"] > 0 and record["device_seconds"] is None
            assert record["load"]["jobs"] == 1 and record["load"]["cpus"] == os.cpu_count()
        assert all(r.cost == r.cpu_seconds > 0 for r in made.board.rows)
        text = (made.folder / "leaderboard.md").read_text()
        assert "| CPU s per run |" in text and "Load when they began: " in text
        with (made.folder / "seconds.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
        assert float(row["cpu_seconds"]) > 0 and row["device_seconds"] == "" and float(row["seconds"]) > 0
        page = (made.folder / "leaderboard.html").read_text()
        assert "CPU s per run" in page and "load at the start" in page
        assert "CPU s per run" in next(f for f in figures(made) if f.name == "pareto").title


def test_waiting_is_no_processor_time() -> None:
    """A stopwatch around work that another process does, and around work of its own."""
    watch = Stopwatch()
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    waited = watch.spent()
    assert 0 <= waited.cpu < waited.wall and waited.device is None
    both = (Spent(3.0, 2.0, 1.0) - Spent(1.0, 0.5, None)).share(2)
    assert both == Spent(1.0, 0.75, 0.5) and Spent(1.0, 1.0) + Spent(1.0, 1.0, 2.0) == Spent(2.0, 2.0, 2.0)


def test_old_records_without_processor_time_are_read_and_said_to_be_wall_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    write_run(writer, "old", "toy/a->b", target=accuracies(0.5), seconds=4.0)
    made = report(tmp_path)
    assert made.time.head == "wall s per run" and made.time.show(made.board.rows[0]) == "4.00"
    assert "no CPU seconds were recorded" in (tmp_path / "leaderboard.md").read_text()
    new = {"cpu_seconds": 2.0, "device_seconds": None, "load": {"average": 1.5, "jobs": 2, "cpus": 8}}
    write_run(writer, "new", "toy/a->b", target=accuracies(0.6), seconds=9.0, more=new)
    write_run(writer, "cuda", "toy/a->b", target=accuracies(0.7), more=new | {"device_seconds": 0.5})
    made = report(tmp_path)
    assert [made.time.show(r) for r in made.board.rows] == ["0.50 device", "2.00 CPU", "4.00 wall"]
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| CPU or device s per run |" in text and "1.5 to 1.5 processes, 2 of them ours, on 8 processors" in text
