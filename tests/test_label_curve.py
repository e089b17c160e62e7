"""Label curves: nested draws, one test part for every number of labels, a run for each, and the area below."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.report import label_curves
from dazoo.bench.report.build import report
from dazoo.bench.report.canvas import Line, Word
from dazoo.bench.suite_run import run_suite
from dazoo.cli.listing import setting_info
from dazoo.contracts.toys import toy_task
from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, ORACLE, UNSUPERVISED, Setting
from dazoo.data.task import Task

SUITE = {"dataset": "digits", "tasks": ["upright->rotated"], "methods": ["source_only", "easyadapt", "target_oracle"],
         "classifier": "1nn", "few_labels": [5, 1, 3], "seeds": 2}  # fmt: skip


def rows(part: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(r) for r in part.flatten(1).tolist()}


# -- the task ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [False, True])
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_of_labels_are_nested(curve: bool, regression: bool, seed: int) -> None:
    task = toy_task(FEW_LABELS, regression=regression).change(curve=curve, seed=seed)
    drawn = [rows(task.change(few_per_class=k).seen().few.x) for k in (1, 2, 3, 5)]
    assert all(a < b or (regression and a <= b) for a, b in pairwise(drawn))
    assert regression or [len(d) for d in drawn] == [3, 6, 9, 15]


def test_every_number_of_labels_is_tested_on_the_oracles_samples() -> None:
    task = toy_task(FEW_LABELS).change(curve=True)
    tested = [
        task.change(setting=s, few_per_class=k).hidden() for s in (FEW_LABELS, UNSUPERVISED, ORACLE) for k in (1, 9)
    ]
    assert all(torch.equal(t.x, tested[0].x) and torch.equal(t.y, tested[0].y) for t in tested)
    assert torch.equal(tested[0].x, task.change(setting=ORACLE, curve=False).hidden().x)
    for k in (1, 5, 100):
        seen = task.change(few_per_class=k).seen()
        assert not rows(seen.few.x) & rows(tested[0].x)
        assert rows(seen.few.x) | rows(seen.target.x) == rows(task.target.x)


def test_a_curve_with_all_labels_is_the_oracles_data() -> None:
    task = toy_task(FEW_LABELS).change(curve=True, few_per_class=10_000)
    curve, oracle = task.seen(), task.change(setting=ORACLE, curve=False).seen()
    for part in ("few", "target", "source", "source_val"):
        for key, value in vars(getattr(curve, part)).items():
            other = getattr(getattr(oracle, part), key)
            assert value is other or torch.equal(value, other), (part, key)
    assert torch.equal(task.hidden().x, task.change(setting=ORACLE).hidden().x)


def test_draws_are_those_of_the_few_label_setting() -> None:
    task = toy_task(FEW_LABELS)
    assert torch.equal(task.seen().few.x, task.change(curve=True).seen().few.x)
    assert task.change(setting="label_curve").setting is FEW_LABELS is Setting.of("label_curve")
    told = setting_info("label_curve")
    assert told is not None and told["name"] == "few_labels" and "mme" in told["methods"]
    made = dazoo.load_task("digits/upright->rotated", setting="label_curve", few_per_class=1, curve=True)
    assert torch.bincount(made.seen().few.y).tolist() == [1] * 10


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"yt": None}, "the target has none"),
        ({"yt": [0.0, 1.0, None, 1.0] * 5}, "has some only"),
        ({"few": ([0, 1], [0, 1])}, "has some only"),
        ({"target_holdout": 0.2}, "both say what is tested on"),
    ],
)
def test_what_makes_no_curve_is_said(options: dict[str, Any], said: str) -> None:
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(DazooError, match=said):
        Task.from_arrays(x, y, x, **{"yt": y, "curve": True, **options})


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_every_number_of_labels_has_runs_of_its_own() -> None:
    plan = make_plan(Suite.of(SUITE))
    found = {(s.label, s.task, s.protocol.few_labels, s.setting) for s in plan.specs}
    assert found == {
        (label, f"digits-k{k}/upright->rotated", k, setting)
        for label, setting in (
            ("source_only", "unsupervised"),
            ("easyadapt", "few_labels"),
            ("target_oracle", "oracle"),
        )
        for k in (1, 3, 5)
    }
    assert len({s.key for s in plan.specs}) == len(plan.specs) == 18  # seeds decide what is tested on
    assert all(s.protocol.plain["curve"] is True for s in plan.specs)


def test_one_number_is_the_suite_as_it_always_was() -> None:
    plans = [make_plan(Suite.of({**SUITE, "few_labels": given})) for given in (3, [3])]
    assert [s.key for s in plans[0].specs] == [s.key for s in plans[1].specs]
    assert all(s.task == "digits/upright->rotated" and "curve" not in s.protocol.plain for s in plans[0].specs)


def test_a_suite_with_a_curve_survives_being_written_down() -> None:
    rest = {k: v for k, v in SUITE.items() if k != "dataset"}
    own = rest | {"datasets": [{"name": "digits", "few_labels": 2}]}
    for given in (SUITE, {**SUITE, "few_labels": 4}, {**SUITE, "few_labels": [4]}, own):
        suite = Suite.of(given)
        assert Suite.of(suite.to_json()) == suite
        assert [s.key for s in make_plan(Suite.of(suite.to_json())).specs] == [s.key for s in make_plan(suite).specs]


def test_datasets_may_have_curves_of_their_own_and_tasks_are_chosen_by_their_name() -> None:
    base = {k: v for k, v in SUITE.items() if k not in ("dataset", "few_labels")}
    both = [{"name": "digits", "few_labels": [2, 1]}, {"name": "digits", "as": "again", "tasks": ["noisy->rotated"]}]
    tasks = {s.task for s in make_plan(Suite.of({**base, "datasets": both})).specs}
    assert tasks == {"digits-k1/upright->rotated", "digits-k2/upright->rotated", "again-k3/noisy->rotated"}
    narrowed = Suite.of(SUITE).narrow(tasks="digits-k3/*->rotated")
    assert {s.task.partition("/")[0] for s in make_plan(narrowed).specs} == {"digits-k3"}


@pytest.mark.parametrize(("given", "said"), [([1, 1], "listed twice"), ([0, 1], "at least 1 and"), ([], "is empty")])
def test_mistakes_in_numbers_of_labels_are_named(given: list[int], said: str) -> None:
    with pytest.raises(DazooError, match=said):
        Suite.of({**SUITE, "few_labels": given})


def test_a_mistake_keeps_its_line(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset:\n  name: digits\n  kernel: 3\nmethods: [easyadapt]\nfew_labels: [1, 3]\n")
    with pytest.raises(DazooError, match=r"mine\.yaml, line 3.*no option 'kernel'"):
        make_plan(Suite.load(path))


def test_methods_that_take_no_labels_run_without_where_a_suite_asks_for_few() -> None:
    plan = make_plan(Suite.of({**SUITE, "setting": "label_curve", "methods": ["source_only", "coral", "easyadapt"]}))
    assert {(s.label, s.setting) for s in plan.specs} == {
        ("source_only", "unsupervised"), ("coral", "few_labels"), ("easyadapt", "few_labels"),
    }  # fmt: skip


def test_fit_works_at_one_point_of_a_curve() -> None:
    task = toy_task(FEW_LABELS).change(curve=True)
    model = dazoo.fit("easyadapt", task, classifier="1nn")
    other = dazoo.fit("easyadapt", dataclasses.replace(task, few_per_class=5), classifier="1nn")
    assert 0 < dazoo.evaluate(model, task)["accuracy"] <= 1 >= dazoo.evaluate(other, task)["accuracy"]


# -- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("curve") / "results"
    run_suite(Suite.of({**SUITE, "few_labels": [1, 2, 8], "tasks": ["upright->rotated", "noisy->rotated"]}), out=out)
    return out


def test_a_curve_is_the_mean_over_tasks_with_the_spread_of_seeds(results: Path) -> None:
    made = report(results)
    assert {r.task for r in made.runs.runs} == {
        f"digits-k{k}/{pair}" for k in (1, 2, 8) for pair in ("upright->rotated", "noisy->rotated")
    }
    (found,) = label_curves.label_curves(made)
    assert found.dataset == "digits" and found.numbers == (1, 2, 8) and len(found.tasks) == 2
    for c in found.curves:
        by_seed = np.array([
            [np.mean([r.metric("accuracy")[-1] for r in made.runs.runs
                      if (r.label, r.seed) == (c.label, s) and r.task.startswith(f"digits-k{k}/")]) for s in (0, 1)]
            for k in (1, 2, 8)
        ])  # fmt: skip
        assert np.allclose(c.values, by_seed) and np.allclose(c.means, by_seed.mean(1))
        assert np.allclose(c.spreads, by_seed.std(1, ddof=1))
        # log 1, log 2, log 8 are 0, 1 and 3 log 2
        areas = [((v[0] + v[1]) / 2 + (v[1] + v[2])) / 3 for v in by_seed.T]
        assert c.area == pytest.approx(np.mean(areas)) and c.area_spread == pytest.approx(np.std(areas, ddof=1))
    flat = {c.label: c for c in found.curves if c.label != "easyadapt"}
    assert all(len({round(v, 12) for v in c.means}) == 1 for c in flat.values()) and len(flat) == 2
    rising = next(c for c in found.curves if c.label == "easyadapt")
    assert rising.means[0] < rising.means[2]


def test_curves_stand_in_tables_files_and_page(results: Path) -> None:
    made = report(results)
    (found,) = label_curves.label_curves(made)
    best = found.curves[0]
    text = (results / "leaderboard.md").read_text()
    assert "## Label curves: digits" in text and f"| {best.label} †" in text and "area over log k" in text
    rows = [line.split(",") for line in (results / "label_curves.csv").read_text().splitlines()]
    assert rows[0] == list(label_curves.COLUMNS) and len(rows) == 1 + 3 * 4
    written = {(r[1], r[3]): float(r[4]) for r in rows[1:]}
    assert written[best.label, "area"] == pytest.approx(best.area, abs=1e-6)
    page = (results / "leaderboard.html").read_text()
    assert "Label curves: digits" in page and "labelled target samples per class (logarithmic)" in page
    (drawn,) = label_curves.figures(made)
    assert [w.text for w in drawn.parts if isinstance(w, Word) and w.text.startswith("easyadapt")]
    assert all(math.isfinite(v) for p in drawn.parts if isinstance(p, Line) for v in (p.x1, p.y1, p.x2, p.y2))
    assert '<line class="data shaded c0"' in drawn.svg()


def test_names_beside_curves_do_not_lie_on_each_other() -> None:
    places = label_curves.apart([50, 51, 52, 200, 340], 46, 346)
    assert all(b - a >= label_curves.STEP - 1e-9 for a, b in pairwise(places)) and places[-1] <= 346
    low = label_curves.apart([340, 341, 345], 46, 346)
    assert all(b - a >= label_curves.STEP - 1e-9 for a, b in pairwise(low)) and low[-1] <= 346 and low[0] >= 46


def test_suites_with_one_number_have_no_curve(tmp_path: Path) -> None:
    run_suite(Suite.of({**SUITE, "few_labels": 3, "seeds": 1}), out=tmp_path / "o")
    made = report(tmp_path / "o")
    assert label_curves.label_curves(made) == [] and not (tmp_path / "o" / "label_curves.csv").exists()
    assert "Label curves" not in (tmp_path / "o" / "leaderboard.md").read_text()
