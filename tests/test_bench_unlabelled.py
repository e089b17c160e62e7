"""Suites whose target has no labels: ranked by the label-free rule, and nothing claimed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.model import load_report
from dazoo.bench.report.sections import sections_of
from dazoo.cli.report import show
from tests.bench_tools import accuracies, scored, write_run

T, U = "toy/a->b", "toy/a->c"


def fill(path: Path, task: str = T) -> None:
    """Three methods, two seeds, two checkpoints; no target metric."""
    writer = Writer(path)
    for label, scores in {"source_only": (0.2, 0.1), "good": (0.5, 0.9), "flat": (0.6, 0.3)}.items():
        for seed in range(2):
            family = "baseline" if label == "source_only" else "other"
            made = [{"info_max": v + seed / 100, "snd": -v} for v in scores]
            write_run(writer, label, task, seed, scores=made, target=[{}, {}], family=family)


def test_methods_are_ranked_by_the_label_free_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    made = report(tmp_path)
    assert made.board.label_free and made.board.metric == "score of info_max"
    assert [(r.label, r.problem, r.rank) for r in made.board.rows] == [
        ("good", "", 1), ("flat", "", 2), ("source_only", "", 3)
    ]  # fmt: skip
    assert made.board.rows[0].mean == pytest.approx(0.905)
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["good", "flat", "source_only"]
    with (tmp_path / "per_task.csv").open(newline="") as file:
        assert {row["metric"] for row in csv.DictReader(file)} == {"score of info_max"}
    text, page = (tmp_path / "leaderboard.md").read_text(), (tmp_path / "leaderboard.html").read_text()
    for shown in (text, page):
        assert "No target label is known: methods are ranked by the label-free validator" in shown
        assert "incomplete" not in shown.partition("<script")[0] and "0.9050" in shown
    assert "Selection rules" not in text and "oracle" not in text
    tex = (tmp_path / "leaderboard.tex").read_text()
    assert r"\textbf{0.905}" in tex and "score of info" in tex
    show(made)
    out = capsys.readouterr().out
    assert "0.9050" in out and "A score is no accuracy" in " ".join(out.split())


def test_other_rules_without_labels(tmp_path: Path) -> None:
    fill(tmp_path)
    assert [r.label for r in load_report(tmp_path, "snd").board.rows] == ["source_only", "flat", "good"]
    last = load_report(tmp_path, "last")
    assert (last.board.metric, last.board.rows[0].label) == ("score of info_max", "good")
    oracle = load_report(tmp_path, "oracle")  # there is nothing an oracle could look at
    assert (oracle.board.rule, oracle.board.rows[0].label) == ("info_max", "good")


def test_a_label_free_score_is_no_negative_transfer(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for t in range(8):
        for seed in range(3):
            for label, family, value in (("source_only", "baseline", 0.9), ("other", "other", 0.1)):
                scores = scored("info_max", value + seed / 1000 + t / 100)
                write_run(writer, label, f"toy/a{t}->b", seed, scores=scores, target=[{}], family=family)
    assert not sections_of(load_report(tmp_path)).findings


def test_where_some_targets_have_labels_the_others_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, U)
    writer = Writer(tmp_path)
    for label, value in (("good", 0.7), ("flat", 0.8), ("source_only", 0.6)):
        write_run(writer, label, T, 0, scores=scored("info_max", 0.1), target=accuracies(value))
    made = report(tmp_path)
    assert [(r.label, r.mean) for r in made.board.rows] == [("flat", 0.8), ("good", 0.7), ("source_only", 0.6)]
    assert made.board.tasks == (T,) and f"their target has no labels: {U}" in (tmp_path / "leaderboard.md").read_text()
