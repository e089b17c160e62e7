"""Killing a run at any moment costs the runs in flight and nothing else."""

from __future__ import annotations

import csv
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from dazoo.bench.records.store import Follower
from dazoo.bench.report.build import report
from tests.bench_tools import plain_records

SUITE: dict[str, Any] = {
    "name": "resume",
    "dataset": "digits",
    "tasks": ["upright->rotated", "noisy->blurred"],
    "methods": ["source_only", "target_oracle", "coral", "sa", "tca", "dann"],
    "seeds": 2,
    "trials": 2,
    "recipe": {"name": "digits", "steps": 20},
    "backbone": "mlp",
    "classifier": {"name": "1nn"},
    "checkpoints": 2,
}


def start(suite: Path, out: Path, jobs: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dazoo.cli", "run", str(suite), "--out", str(out), "--jobs", str(jobs)]
    return subprocess.Popen([*command, "--device", "cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def without_times(folder: Path) -> dict[str, Any]:
    """What must be the same however often a run was interrupted."""
    with (folder / "leaderboard.csv").open(newline="") as file:
        board = [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)]
    text = []
    for line in (folder / "leaderboard.md").read_text().split("\n"):
        if "Load when they began" in line:
            continue
        cells = line.split(" | ")
        text.append(" | ".join(cells[:5] + cells[6:]) if len(cells) == 8 else line)
    return {"board": board, "md": text, "tasks": (folder / "per_task.csv").read_bytes()}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "resume.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


@pytest.fixture(scope="module")
def undisturbed(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    process = start(suite, out, 1)
    _, log = process.communicate()
    assert process.returncode == 0, log.decode()
    return out


@pytest.mark.slow
def test_kill_and_resume_ends_where_an_undisturbed_run_ends(suite: Path, undisturbed: Path, tmp_path: Path) -> None:
    """One process and two take turns; each goes on with what the other left behind."""
    chance = random.Random(1)
    kills = 0
    for jobs in (1, 2, 2, 1):
        follower = Follower(tmp_path)
        process = start(suite, tmp_path, jobs)
        wanted, found = chance.randint(1, 6), 0
        while found < wanted and process.poll() is None:
            time.sleep(0.01)
            found += len(follower.new_keys())
        time.sleep(chance.random() * 0.1)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()  # returns when the last worker has closed what it inherited: none outlives its parent
    assert kills >= 3
    process = start(suite, tmp_path, 2)
    _, log = process.communicate()
    assert process.returncode == 0, log.decode()
    counts = re.search(r"(\d+) runs, (\d+) stored, (\d+) to do", log.decode())
    assert counts is not None and int(counts[2]) >= kills
    assert without_times(tmp_path) == without_times(undisturbed)
    assert plain_records(tmp_path) == plain_records(undisturbed)


@pytest.mark.slow
def test_a_lost_end_of_a_shard_is_run_again(suite: Path, undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    lines = b"".join(p.read_bytes() for p in sorted((undisturbed / "records").glob("*.jsonl")))
    (tmp_path / "records" / "shard-0.jsonl").write_bytes(lines[:-200])
    process = start(suite, tmp_path, 1)
    _, log = process.communicate()
    assert process.returncode == 0, log.decode()
    assert "1 to do" in log.decode() and "1 line was skipped: records/shard-0.jsonl" in log.decode()
    assert without_times(tmp_path) == without_times(undisturbed)
    assert plain_records(tmp_path) == plain_records(undisturbed)


@pytest.mark.slow
def test_the_report_needs_the_records_alone(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    for shard in (undisturbed / "records").glob("*.jsonl"):
        (tmp_path / "records" / shard.name).write_bytes(shard.read_bytes())
    report(tmp_path)
    for name in ("leaderboard.csv", "per_task.csv"):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()
