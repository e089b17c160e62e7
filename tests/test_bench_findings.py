"""Regret of selection rules and findings about runs: planted cases are flagged, clean runs are not."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binom

from dazoo.bench.analysis.findings import check_run, findings
from dazoo.bench.analysis.regret import collapsed
from dazoo.bench.analysis.select import Cell
from dazoo.bench.metrics.formulas import effective_classes
from dazoo.bench.records.store import Damage, Writer, records
from dazoo.bench.report.build import report
from dazoo.bench.report.model import Report, load_report
from dazoo.bench.report.sections import sections_of
from dazoo.bench.suite_run import run_suite
from dazoo.cli.report import show
from tests.bench_tools import SMALL, accuracies, write_run

WELL, FLAT = {"target": 9.5, "source": 10.0}, {"target": 1.2, "source": 10.0}


def found(made: Report) -> set[tuple[str, str, str]]:
    return {(f.kind, f.label, f.task) for f in sections_of(made).findings}


def by_rule(made: Report) -> dict[str, object]:
    return {r.rule: r for r in sections_of(made).regrets}


# -- regret -------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_validators(tmp_path: Path) -> Path:
    """Two trials of three checkpoints: ``good`` follows accuracy, ``bad`` goes against it and picks a collapsed one."""
    writer = Writer(tmp_path)
    for trial, values in enumerate(([0.5, 0.6, 0.2], [0.7, 0.8, 0.1])):
        for seed in range(2):
            moved = [v + seed / 100 for v in values]
            scores = [{"good": v, "bad": -v, "void": None} for v in values]
            predicted = [FLAT if v < 0.3 else WELL for v in values]
            write_run(writer, "m", "toy/a->b", seed, trial, scores, accuracies(*moved), predicted=predicted)
    write_run(
        writer, "cheat", "toy/a->b", 0, scores=[{"good": 1.0}], target=accuracies(1.0), setting="oracle"
    )  # fmt: skip
    return tmp_path


def test_regret_correlation_and_collapse_of_rules(two_validators: Path) -> None:
    rules = by_rule(load_report(two_validators, "good"))
    assert list(rules)[-1] == "oracle" and set(rules) == {"good", "bad", "void", "last", "oracle"}
    good, bad, void, last, oracle = (rules[n] for n in ("good", "bad", "void", "last", "oracle"))
    assert (good.regret, good.collapsed, good.cells) == (pytest.approx(0), 0, 1)
    assert good.correlation == pytest.approx(1, abs=0.02) and bad.correlation == pytest.approx(-good.correlation)
    assert bad.regret == pytest.approx(0.7) and bad.collapsed == 1 and bad.mean == pytest.approx(0.105)
    assert void.undefined == 1 and np.isnan(void.correlation)
    assert last.regret == pytest.approx(0.805 - 0.205) and np.isnan(last.correlation) and last.collapsed == 1
    assert oracle.regret == 0 and oracle.mean == pytest.approx(0.805)


def test_validators_csv_and_markdown_mark_the_oracle(two_validators: Path) -> None:
    report(two_validators, "bad")
    with (two_validators / "validators.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "rule", "mean", "oracle", "regret", "rank_correlation", "collapsed_share", "cells", "undefined"
    ]  # fmt: skip
    assert rows[0]["rule"] == "good" and rows[-1]["rule"] == "oracle (target labels)"
    text = (two_validators / "leaderboard.md").read_text()
    assert "| method | bad | good | void | last | oracle (target labels) |" in text
    bad = next(r for r in rows if r["rule"] == "bad")
    assert f"| bad | 10.50 | 70.00 | {float(bad['rank_correlation']):.2f} | 100.0 | 1 | 0 |" in text
    assert "- collapse: m on toy/a->b: with 2 of 2 seeds" in text
    page = (two_validators / "leaderboard.html").read_text()
    assert 'class="num oracle"' in page and "<strong>collapse</strong>: m on toy/a-&gt;b" in page


def test_errors_have_regret_too(tmp_path: Path) -> None:
    target = [{"rmse": v, "mae": v, "r2": 0.0} for v in (3.0, 1.0, 2.0)]
    write_run(Writer(tmp_path), "m", "toy/a->b", scores=[{"v": s} for s in (3.0, 2.0, 1.0)], target=target)
    rules = by_rule(load_report(tmp_path, "v"))
    assert rules["v"].regret == pytest.approx(2) and rules["last"].regret == pytest.approx(1)
    assert rules["v"].correlation == pytest.approx(-0.5)  # scores rank 3 2 1, minus rmse ranks 1 3 2


def test_records_without_predicted_classes_are_no_collapse(tmp_path: Path) -> None:
    write_run(Writer(tmp_path), "m", "toy/a->b", scores=[{"v": 1.0}], target=accuracies(0.5))
    made = load_report(tmp_path, "v")
    assert np.isnan(by_rule(made)["v"].collapsed) and not found(made)


# -- findings -----------------------------------------------------------------------------------------------------


def test_effective_classes_and_the_collapse_rule() -> None:
    assert effective_classes(np.array([0, 1, 2, 3]), 10) == pytest.approx(4)
    assert effective_classes(np.array([2, 2, 2]), 10) == pytest.approx(1)
    ten = [(3.9, 10.0), (4.1, 10.0), (1.3, 2.0), (1.35, 2.0), (1.0, 1.0), (np.nan, np.nan)]
    assert collapsed(np.array(ten)).tolist() == [True, False, True, False, False, False]
    skewed = effective_classes(np.repeat(np.arange(10), [100, 60, 36, 22, 13, 8, 5, 3, 2, 1]), 10)
    assert not collapsed(np.array([skewed, 10.0]))  # a target with an imbalance of 100 is no collapse


def planted(path: Path) -> Report:
    """Six tasks, five seeds: a baseline, three clean methods and one of each planted fault."""
    rng, writer = np.random.default_rng(0), Writer(path)
    live, idle = [(s, 1.0 / (s + 1)) for s in range(8)], [(s, 0.0) for s in range(8)]
    for t in range(6):
        for seed in range(5):
            noise = rng.normal(0, 0.01, 8)

            def put(label: str, value: float, where: int = t, number: int = seed, **more: object) -> None:
                known = {"predicted": [WELL], "curves": {"align": live}} | more
                write_run(writer, label, f"toy/a{where}->b", number, target=accuracies(value), **known)  # type: ignore[arg-type]

            put("source_only", 0.6 + noise[0], family="baseline")
            for i in range(3):
                put(f"clean_{i}", 0.6 + 0.01 * i + noise[1 + i])
            put("worse", 0.57 + noise[4])
            put("flat", 0.6 + noise[5], predicted=[FLAT if t == 2 else WELL])
            put("asleep", 0.6 + noise[6], curves={"align": idle, "task": live})
            term = {"kind": "inert term", "subject": "align", "text": "the loss term 'align' has too little"}
            put("faint", 0.6 + noise[6], flags=[term] if t == 3 else [])
            disc = {"kind": "saturated discriminator", "subject": "disc", "text": "the discriminator never erred"}
            put(
                "sure", 0.6 + noise[5], flags=[disc] if (t, seed < 3) == (4, True) or (t, seed < 2) == (5, True) else []
            )
            put("shaky", 0.62 + (0.25 * (-1) ** seed if t == 1 else noise[7]))
    return load_report(path, "last")


def test_planted_faults_are_flagged_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = planted(tmp_path)
    flagged = found(made)
    overall = {f for f in flagged if f[0] != "negative transfer" or not f[2]}
    assert overall == {
        ("below baseline", "worse", ""),
        ("collapse", "flat", "toy/a2->b"),
        ("unstable", "shaky", "toy/a1->b"),
        ("inert term", "faint", "toy/a3->b"),
        ("saturated discriminator", "sure", "toy/a4->b"),
        *(("inert term", "asleep", f"toy/a{t}->b") for t in range(6)),
    }
    assert {f[1] for f in flagged if f[0] == "negative transfer"} == {"worse"}
    text = next(f.text for f in sections_of(made).findings if f.kind == "below baseline")
    assert text.startswith("below source_only by 0.03") and "6 tasks, which no test over tasks confirms" in text
    assert "; seeds alone show it for these very tasks (p = " in text
    texts = {f.label: f.text for f in sections_of(made).findings}
    assert texts["faint"] == "the loss term 'align' has too little"
    assert texts["sure"] == "with 3 of 5 seeds the discriminator never erred"
    shown = "\n".join(sections_of(made).markdown())
    show(made)
    out = capsys.readouterr().out
    assert "findings (" in out and "7 inert term" in out and "1 saturated discriminator" in out
    assert "- saturated discriminator: sure on toy/a4->b: with 3 of 5 seeds the discriminator never erred." in shown


def made_up(seed: int, tasks: int, seeds: int, worse: float = 0.0, baselines: int = 1) -> dict[tuple[str, str], Cell]:
    """Four methods over baselines, all equal but ``m1``, which loses ``worse``."""
    rng, cells = np.random.default_rng(seed), {}
    for label in (*(f"b{i}" for i in range(baselines)), "m1", "m2", "m3", "m4"):
        for task in (f"t{t}" for t in range(tasks)):
            values = rng.normal(0.7 - worse * (label == "m1"), 0.03, seeds)
            family = "baseline" if label[0] == "b" else "other"
            at = (label, label, family, task, "unsupervised", values, 0, tuple(range(seeds)), (), 0, seeds, ())
            cells[label, task] = Cell(*at, 1.0, "last")
    return cells


@pytest.mark.parametrize("baselines", [1, 2])
def test_clean_suites_raise_few_alarms(baselines: int) -> None:
    """Negative transfer is called in at most 5 % of clean suites, whatever the number of baselines."""
    found = [findings([], made_up(s, 4, 3, baselines=baselines), higher=True, share=True) for s in range(300)]
    accused = sum(any(f.kind == "negative transfer" for f in of) for of in found)
    assert binom.sf(accused - 1, 300, 0.05) > 0.01
    assert binom.sf(sum(map(bool, found)) - 1, 300, 0.1) > 0.01  # instability is a family of tests of its own


def test_a_subtly_worse_method_is_named_and_hardly_another() -> None:
    """One standard deviation of a seed, on twelve tasks with five seeds."""
    found = [findings([], made_up(s, 12, 5, worse=0.03), higher=True, share=True) for s in range(60)]
    named = [{f.label for f in of if f.kind == "negative transfer"} for of in found]
    assert sum("m1" in names for names in named) >= 54
    assert binom.sf(sum(bool(names - {"m1"}) for names in named) - 1, 60, 0.05) > 0.01


def shifted(of: dict[tuple[str, str], Cell], label: str, by: float) -> dict[tuple[str, str], Cell]:
    return {k: replace(c, values=c.values + by) if k[0] == label else c for k, c in of.items()}


def test_a_mean_below_the_baseline_is_flagged_although_no_test_calls_it() -> None:
    """Single runs of six tasks, of which one ruins the mean: nothing a test of twelve could call."""
    cells = made_up(0, 6, 1)
    cells = {k: replace(c, values=np.full(1, 0.7)) for k, c in cells.items()}
    hurt = cells["m2", "t0"]
    cells["m2", "t0"] = replace(hurt, values=hurt.values - 0.3)
    found = findings([], cells, higher=True, share=True)
    assert [(f.kind, f.label, f.task) for f in found] == [("below baseline", "m2", "")]
    assert found[0].text == "below b0 by 0.050 on average over 6 tasks, which no test over tasks confirms"


def test_below_the_baseline_needs_a_point_and_six_tasks_and_is_not_said_twice() -> None:
    flat = {k: replace(c, values=np.full(1, 0.7)) for k, c in made_up(0, 6, 1).items()}
    assert not findings([], shifted(flat, "m1", -0.009), higher=True, share=True)
    assert not findings([], shifted(flat, "m1", +0.2), higher=True, share=True)
    assert not findings([], {k: c for k, c in shifted(flat, "m1", -0.2).items() if k[1] != "t0"}, True, True)
    worse = findings([], made_up(0, 12, 5, worse=0.1), higher=True, share=True)
    assert {f.kind for f in worse if f.label == "m1"} == {"negative transfer"}


def test_tasks_decide_where_there_are_enough_of_them() -> None:
    """A method that loses much on two of twelve tasks and wins little on ten is not worse in general, says no test."""
    flat = {k: replace(c, values=np.array([0.7, 0.701, 0.699])) for k, c in made_up(0, 12, 3).items()}
    for t in range(12):
        cell, by = flat["m1", f"t{t}"], -0.2 if t < 2 else 0.002
        flat["m1", f"t{t}"] = replace(cell, values=cell.values + np.array([by - 1e-4, by, by + 1e-4]))
    found = [(f.kind, f.task) for f in findings([], flat, True, True) if f.label == "m1"]
    assert found == [("below baseline", ""), ("negative transfer", "t0"), ("negative transfer", "t1")]
    four = [f for f in findings([], made_up(1, 4, 5, worse=0.1), True, True) if f.label == "m1" and not f.task]
    assert [f.kind for f in four] == ["below baseline"] and "seeds alone show it" in four[0].text


def test_one_task_is_accused_once() -> None:
    found = findings([], made_up(0, 1, 5, worse=0.3), higher=True, share=True)
    assert [(f.kind, f.label, f.task) for f in found] == [("negative transfer", "m1", "t0")]


def test_a_run_is_checked_from_its_record_alone(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    idle = {"align": [(s, 0.0) for s in range(8)], "task": [(s, 1.0) for s in range(8)]}
    flags = [
        {"kind": "inert term", "subject": "align", "text": "too little"},
        {"kind": "blind discriminator", "subject": "disc", "text": "sees nothing"},
    ]
    write_run(writer, "bad", "toy/a->b", target=accuracies(0.9, 0.1), predicted=[WELL, FLAT], curves=idle, flags=flags)
    write_run(writer, "idle", "toy/a->b", target=accuracies(0.9), predicted=[WELL], curves=idle)
    write_run(writer, "good", "toy/a->b", target=accuracies(0.9, 0.9), predicted=[FLAT, WELL])
    found = {r["spec"]["label"]: [(f.kind, f.text) for f in check_run(r)] for r in records(tmp_path, Damage())}
    assert found["good"] == []
    assert found["idle"] == [("inert term", "the loss term 'align' was zero whenever it was logged")]
    assert [kind for kind, _ in found["bad"]] == ["blind discriminator", "collapse", "inert term"]
    assert "effectively 1.2, where the source has 10.0" in found["bad"][1][1] and found["bad"][2][1] == "too little"


def test_real_runs_carry_their_findings(tmp_path: Path) -> None:
    """A method whose weight is nothing, through plan, run, record, report and the command's words."""
    suite = tmp_path / "suite.yaml"
    recipe = {"name": "frozen", "steps": 30, "bottleneck": 8}
    methods = ["source_only", {"name": "deep_coral", "as": "nothing", "trade_off": 0.0}, "dann"]
    suite.write_text(
        yaml.safe_dump({**SMALL, "methods": methods, "recipe": recipe, "seeds": 1, "tasks": ["upright->noisy"]})
    )
    made = run_suite(suite, out=tmp_path / "out")
    assert ("inert term", "nothing", "digits/upright->noisy") in found(made)
    by_label = {r["spec"]["label"]: r for r in records(made.folder, Damage())}
    assert set(by_label["dann"]["info"]["gradient_shares"]) == {"cls", "dom"}
    stored = {label: [f["kind"] for f in record["findings"]] for label, record in by_label.items()}
    assert stored["nothing"].count("inert term") == 1
    for label, record in by_label.items():
        assert sorted(stored[label]) == [f.kind for f in check_run(record)]
    assert "<strong>inert term</strong>: nothing on" in (made.folder / "leaderboard.html").read_text()


def test_a_trained_collapse_is_named_in_its_record_and_a_clean_run_is_not(tmp_path: Path) -> None:
    """Entropy is least where everything is one class: with far too much weight, that is where training goes."""
    suite = {**SMALL, "tasks": ["upright->noisy"], "seeds": 1, "recipe": {"name": "frozen", "steps": 30}}
    suite["methods"] = ["source_only", {"name": "min_entropy", "as": "sure", "trade_off": 100.0}]
    made = run_suite(suite, out=tmp_path / "out")
    by_label = {r["spec"]["label"]: r["findings"] for r in records(made.folder, Damage())}
    assert by_label["source_only"] == []
    assert [f["kind"] for f in by_label["sure"]] == ["collapse"]
    assert by_label["sure"][0]["text"].startswith("the last model predicts few classes only: effectively ")
    assert found(made) == {("collapse", "sure", "digits/upright->noisy")}


def test_few_findings_are_printed_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Writer(tmp_path), "m", "toy/a->b", target=accuracies(0.5), predicted=[FLAT])
    show(load_report(tmp_path, "last"))
    assert "finding: collapse: m on toy/a->b: with 1 of 1 seeds" in capsys.readouterr().out
    write_run(
        Writer(tmp_path), "m", "toy/a->b", target=accuracies(0.5), predicted=[WELL], started="2025-01-01T00:00:00"
    )
    show(load_report(tmp_path, "last"))
    assert "finding:" not in capsys.readouterr().out


def test_one_seed_on_few_tasks_accuses_nobody(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    write_run(writer, "source_only", "toy/a->b", target=accuracies(0.9), family="baseline")
    write_run(writer, "m", "toy/a->b", target=accuracies(0.1))
    assert not found(load_report(tmp_path, "last"))
