"""What reports of other settings show: metrics beside the first, closed-set baselines, the question, its rules."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

from dazoo.bench.analysis.frame import load_records
from dazoo.bench.metrics.registry import GROUPS, beside, title
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.compact import compact
from dazoo.bench.records.store import Writer
from dazoo.bench.report import words
from dazoo.bench.report.build import report
from dazoo.bench.report.latex import Layout, latex
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.sections import sections_of
from dazoo.cli.report import shown_of
from dazoo.cli.shown import Shown, print_shown
from dazoo.core.questions import QUESTIONS
from dazoo.core.setting import Setting
from tests.bench_tools import write_run

OPEN = ("os_star", "unk", "auroc_unknown", "oscr")
TASKS = ("digits/upright->rotated", "digits/upright->noisy")


def point(of: float, **other: float) -> dict[str, float]:
    return {"hos": of, "os": of, **{name: of + 0.01 * i for i, name in enumerate(OPEN, 1)}, **other}


def universal(folder: Path, **more: Any) -> Path:
    """Two methods, two tasks, two seeds; the first of two checkpoints has the better score of both validators."""
    writer = Writer(folder)
    for j, label in enumerate(("ovanet", "dann")):
        for i, task in enumerate(TASKS):
            for seed in (0, 1):
                values = [0.5 - 0.2 * j + 0.1 * i + 0.02 * seed, 0.1]
                scores: list[dict[str, float | None]] = [
                    {"entropy": 1.0, "info_max": 1.0},
                    {"entropy": 0.5, "info_max": 0.0},
                ]
                target = [point(v) for v in values]
                write_run(writer, label, task, seed, scores=scores, target=target, setting="universal", **more)
    writer.close()
    return folder


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_registry_says_what_stands_beside() -> None:
    recorded = ["hos", "os", *OPEN]
    assert beside([Setting.of("universal")], "hos", recorded) == OPEN
    assert beside([Setting.of("open_set")], "unk", recorded) == ("os_star", "auroc_unknown", "oscr")
    assert beside([Setting.of("open_set")], "hos", ["hos", "unk"]) == ("unk",)
    closed = ["accuracy", "balanced_accuracy", "macro_f1"]
    assert beside([Setting.of("unsupervised"), Setting.of("partial")], "accuracy", closed) == ()
    many = [*closed, "accuracy on noisy", "accuracy on blurred", "macro_f1 on noisy"]
    assert beside([Setting.of("multi_target")], "accuracy", many) == ("accuracy on blurred", "accuracy on noisy")
    assert all(set(g.beside) <= set(g.names) for g in GROUPS)
    assert title("os_star") == "OS*" and title("hos on a_b") == "HOS on a_b" and title("macro_f1") == "macro f1"


def test_means_beside_are_of_the_selected_checkpoints(tmp_path: Path) -> None:
    made = load_report(universal(tmp_path), select_by="entropy")
    assert made.board.metric == "hos" and made.board.beside == OPEN
    first = made.board.rows[0]
    assert first.label == "ovanet" and first.mean == pytest.approx(0.56)
    assert first.beside == pytest.approx([0.57, 0.58, 0.59, 0.60])
    cell = made.board.cells["dann", TASKS[1]]
    assert cell.beside == pytest.approx([cell.mean + 0.01 * i for i in range(1, 5)])
    last = load_report(tmp_path, select_by="last").board.rows[0]
    assert last.beside == pytest.approx([0.11, 0.12, 0.13, 0.14])


def test_every_table_shows_them(tmp_path: Path) -> None:
    made = report(universal(tmp_path), select_by="last")
    overall = rows((tmp_path / "leaderboard.csv").read_text())
    assert [float(overall[0][f"metric.{n}"]) for n in OPEN] == pytest.approx([0.11, 0.12, 0.13, 0.14])
    cells = rows((tmp_path / "per_task.csv").read_text())
    assert len(cells) == 4 and all(float(c["metric.unk"]) == pytest.approx(0.12) for c in cells)
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| HOS (%) | OS\\* | UNK | AUROC | OSCR |" in text and "| 10.00 | 11.00 | 12.00 | 13.00 | 14.00 |" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.count('class="num beside"') == 8 and 'id="f-beside"' in page
    assert "OSCR" not in (tmp_path / "leaderboard.tex").read_text()
    table = latex(made, Layout(beside=True))
    assert r"Mean & OS* & UNK & AUROC & OSCR \\" in table and r"\textbf{14.0}" in table
    lines = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in lines} == {7}


def test_a_metric_that_a_method_lacks_leaves_a_gap(tmp_path: Path) -> None:
    writer = Writer(universal(tmp_path))
    for task in TASKS:
        write_run(writer, "bare", task, target=[{"hos": 0.2, "os_star": 0.3, "unk": 0.1}], setting="universal")
    writer.close()
    made = report(tmp_path, select_by="last")
    row = next(r for r in made.board.rows if r.label == "bare")
    assert row.beside[:2] == pytest.approx([0.3, 0.1]) and all(map(math.isnan, row.beside[2:]))
    assert "| 30.00 | 10.00 | – | – |" in (tmp_path / "leaderboard.md").read_text()


def test_several_targets_have_a_column_each_over_the_tasks_that_have_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for task, target in (
        ("digits/upright->noisy+blurred", {"accuracy": 0.6, "accuracy on noisy": 0.5, "accuracy on blurred": 0.7}),
        ("digits/noisy->blurred+scaled", {"accuracy": 0.8, "accuracy on blurred": 0.9, "accuracy on scaled": 0.7}),
    ):
        write_run(writer, "dann", task, target=[target], setting="multi_target")
    writer.close()
    made = report(tmp_path, select_by="last")
    assert made.board.beside == ("accuracy on blurred", "accuracy on noisy", "accuracy on scaled")
    assert made.board.rows[0].beside == pytest.approx([0.8, 0.5, 0.7]) and made.board.rows[0].mean == pytest.approx(0.7)
    assert not made.board.rows[0].baseline
    assert QUESTIONS["multi_target"] in (tmp_path / "leaderboard.md").read_text()


def test_closed_set_reports_are_what_they_were(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for label in ("coral", "dann"):
        write_run(writer, label, TASKS[0], scores=[{"info_max": 1.0}], target=[{"accuracy": 0.5, "macro_f1": 0.4}])
    writer.close()
    made = report(tmp_path, select_by="info_max")
    assert made.board.beside == () and words.questions(made) == words.admissible(made) == [] == made.beside_heads
    told = "".join(p.read_text() for p in tmp_path.glob("leaderboard.*"))
    for word in ("‡", "The question", "not admissible", 'id="f-beside"', "Beside accuracy", 'class="beside"'):
        assert word not in told
    assert "metric." not in (tmp_path / "leaderboard.csv").read_text()
    assert "admissible" not in (tmp_path / "validators.csv").read_text()


def test_methods_of_the_closed_set_are_marked_and_ranked_with_the_others(tmp_path: Path) -> None:
    made = report(universal(tmp_path), select_by="entropy")
    assert {r.label: (r.baseline, r.rank) for r in made.board.rows} == {"ovanet": (False, 1.0), "dann": (True, 2.0)}
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| dann ‡ |" in text and "| ovanet |" in text and "entropy of its probabilities is above half" in text
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.count("closed-set method</span>") == 1
    assert r"dann$^\ddagger$" in (tmp_path / "leaderboard.tex").read_text()
    shown = shown_of(made)
    assert [row[0] for row in shown.rows] == ["ovanet", "dann ‡"] and any("‡" in line for line in shown.below)


def test_a_partial_baseline_is_marked_and_calls_nothing_unknown(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for label in ("pada", "dann", "no_such_method"):
        write_run(writer, label, TASKS[0], target=[{"accuracy": 0.5}], setting="partial")
    writer.close()
    made = load_report(tmp_path, select_by="last")
    assert {r.label: r.baseline for r in made.board.rows} == {"pada": False, "dann": True, "no_such_method": False}
    assert words.baselines(made) and "entropy" not in words.baselines(made)


def test_plans_record_which_runs_are_baselines() -> None:
    data = {"dataset": {"name": "digits", "classes": "universal"}, "tasks": ["upright->rotated"], "recipe": "digits",
            "closed_set_baselines": True}  # fmt: skip
    specs = {s.method: s for s in make_plan(Suite.of({**data, "methods": ["ovanet", "dann"]})).specs}
    assert specs["dann"].baseline and specs["dann"].to_json()["baseline"] is True
    assert not specs["ovanet"].baseline and "baseline" not in specs["ovanet"].to_json()
    closed = make_plan(Suite.of({"dataset": "digits", "methods": ["dann"], "recipe": "digits"})).specs
    assert not any("baseline" in s.to_json() for s in closed)


@pytest.mark.parametrize("compacted", [False, True])
def test_what_a_record_says_about_a_baseline_counts(tmp_path: Path, compacted: bool) -> None:
    writer = Writer(tmp_path)
    for label, said in (("mine", True), ("theirs", None)):
        spec = {"label": label, "method": label, "family": "f", "task": TASKS[0], "setting": "universal", "seed": 0,
                "trial": 0} | ({"baseline": said} if said else {})  # fmt: skip
        checkpoints = [{"step": 1, "fraction": 1.0, "scores": {}, "target": point(0.5)}]
        body = {"variant": "v", "started": "2026-01-01", "spec": spec, "checkpoints": checkpoints, "seconds": 1.0}
        writer.append(str(len(label)) * 32, "ok", body)
    writer.close()
    if compacted:
        compact(tmp_path)
    made = load_report(tmp_path, select_by="last")
    assert {r.label: r.baseline for r in made.board.rows} == {"mine": True, "theirs": False}


def test_the_question_and_the_rules_that_assume_a_closed_set_are_said(tmp_path: Path) -> None:
    made: Report = report(universal(tmp_path), select_by="entropy")
    page, text = ((tmp_path / f"leaderboard.{kind}").read_text() for kind in ("html", "md"))
    assert QUESTIONS["universal"] in page and QUESTIONS["universal"] in text
    assert "May not choose: bnm" in text and "chooses failures" in text and "Which rules may choose here" in page
    assert sections_of(made).refused == {"info_max"}
    assert "| info_max (not admissible) |" in text and '<tr class="refused"><th scope="row">info_max' in page
    said = {r["rule"]: r["admissible"] for r in rows((tmp_path / "validators.csv").read_text())}
    assert said["info_max"] == "no" and said["entropy"] == said["last"] == "yes"


@pytest.mark.parametrize(("width", "fits"), [(10, True), (128, False)])
def test_columns_beside_are_printed_where_there_is_room(
    width: int, fits: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    print_shown(Shown("t", ["method", "HOS (%)", "UNK"], [["m" * width, "1.00", "2.00"]], [], ["UNK"]))
    out = capsys.readouterr().out
    assert "HOS (%)" in out and "1.00" in out and ("UNK" in out) == ("2.00" in out) == fits


def test_tables_of_runs_have_the_metrics_of_a_setting(tmp_path: Path) -> None:
    frame = load_records(universal(tmp_path))
    assert {f"metric.{n}" for n in ("hos", *OPEN)} <= set(frame.columns)
