"""What reports say of streams: nothing is chosen, who reads the source, and what is measured beside the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.suite_run import run_suite

SUITE = {
    "name": "streams", "dataset": "digits", "tasks": ["upright->noisy"], "setting": "test_time",
    "methods": ["source_stream", "tent", "eata"], "recipe": {"name": "digits", "steps": 20, "norm": "batch"},
    "backbone": "mlp", "stream": {"batch": 32}, "select_by": "last",
}  # fmt: skip


def test_plans_record_who_reads_the_source() -> None:
    specs = {s.method: s for s in make_plan(Suite.of(SUITE)).specs}
    assert specs["eata"].reads_source and specs["eata"].to_json()["reads_source"] is True
    assert "reads_source" not in specs["tent"].to_json() and not specs["source_stream"].reads_source


@pytest.mark.parametrize("compacted", [False, True])
def test_pages_mark_who_reads_the_source_where_all_others_see_a_model(tmp_path: Path, compacted: bool) -> None:
    writer = Writer(tmp_path)
    for i, label in enumerate(("eata", "tent")):
        spec = {"label": label, "method": label, "family": "test_time", "task": "digits/upright->noisy", "seed": 0,
                "setting": "test_time", "trial": 0} | ({"reads_source": True} if i == 0 else {})  # fmt: skip
        target = {"online_accuracy": 0.5, "after": 0.6, "forgetting": -0.1, "seconds_per_batch": 0.01}
        point = {"step": 1, "fraction": 1.0, "scores": {}, "target": target}
        body = {"variant": "v", "started": "2026-01-01", "spec": spec, "checkpoints": [point], "seconds": 1.0}
        writer.append(str(i) * 32, "ok", body)
    writer.close()
    if compacted:
        compact(tmp_path)
    made = report(tmp_path, select_by="last")
    assert {r.label: r.reads_source for r in made.board.rows} == {"eata": True, "tent": False}
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| eata § |" in text and "| tent |" in text and "use source samples at set-up" in text
    assert "no selection exists" in text and "hyper-parameters are fixed across tasks" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.count("uses source at set-up</span>") == 1 and "no selection exists" in page
    assert r"eata$^\S$" in (tmp_path / "leaderboard.tex").read_text()
    assert set(made.board.beside) == {"after", "forgetting", "seconds_per_batch"}


def test_a_suite_of_streams_runs_and_records_what_it_measured(tmp_path: Path) -> None:
    board = run_suite(Suite.of(SUITE), out=tmp_path, jobs=1).board
    assert {r.label for r in board.rows} == set(SUITE["methods"]) and board.metric == "online_accuracy"
    text = (tmp_path / "leaderboard.md").read_text()
    assert "source_stream" in text and "eata §" in text and "forgetting" in text
