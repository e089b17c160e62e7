"""Suites of several datasets: what they may say, their runs, and averages per dataset and overall."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import dazoo
from dazoo.bench.analysis.select import read_runs
from dazoo.bench.analysis.statistics import bootstrap_interval
from dazoo.bench.analysis.table import leaderboard
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.export import export_model
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Writer
from dazoo.bench.report.build import report
from dazoo.bench.report.latex import latex
from dazoo.bench.report.model import load_report
from dazoo.bench.report.typeset import panels
from dazoo.bench.report.words import skipped
from dazoo.bench.suite_run import carry_out, prepare, run_suite
from dazoo.core.errors import DazooError
from tests.bench_tools import accuracies, scored, write_run

ROOT = Path(__file__).resolve().parents[1]
PAIR = "covariate_source->covariate_target"
TWO: dict[str, Any] = {
    "name": "two",
    "datasets": [
        {"name": "digits", "tasks": ["upright->rotated", "upright->noisy"]},
        {"name": "shifts", "n": 60, "tasks": PAIR},
    ],
    "methods": ["source_only", "coral"],
    "seeds": 2,
    "classifier": {"name": "1nn"},
}


def tasks_of(suite: dict[str, Any] | Suite) -> list[str]:
    made = suite if isinstance(suite, Suite) else Suite.of(suite)
    return list(dict.fromkeys(s.task for s in make_plan(made).specs))


def test_runs_of_several_datasets_are_those_of_a_suite_each() -> None:
    """A run's key says nothing about its neighbours: runs are found again when a suite gets a further dataset."""
    both = [s.key for s in make_plan(Suite.of(TWO)).specs]
    alone = []
    for entry in TWO["datasets"]:
        options = {k: v for k, v in entry.items() if k != "tasks"}
        one = {k: v for k, v in TWO.items() if k != "datasets"} | {"dataset": options, "tasks": entry["tasks"]}
        alone += [s.key for s in make_plan(Suite.of(one)).specs]
    assert both == alone and len(set(both)) == len(both)


@pytest.mark.parametrize("name", ["digits", "regret_digits", "digits_and_shifts"])
def test_committed_suites_have_nothing_to_run(name: str) -> None:
    """Their keys do not move."""
    job = prepare(find_suite(name), out=ROOT / "results" / name)
    assert job.plan.specs and not job.missing


def test_committed_suites_on_real_data_have_nothing_to_run(data_root: Path) -> None:
    for name in ("five_recipes", "office_caltech10_surf", "amazon_reviews_msda"):
        job = prepare(find_suite(name), data_root=data_root, out=ROOT / "results" / name)
        assert job.plan.specs and not job.missing


def test_plain_data_and_back() -> None:
    entries = [{"name": "digits", "as": "d", "transform": "zscore"}, "shifts"]
    suite = Suite.of({**TWO, "datasets": entries, "tasks": ["d/upright->rotated", f"shifts/{PAIR}"]})
    again = Suite.of(yaml.safe_load(yaml.safe_dump(suite.to_json())))
    assert again.to_json() == suite.to_json() and again.datasets == suite.datasets and again.labels == ("d", "shifts")
    assert tasks_of(again) == ["d/upright->rotated", f"shifts/{PAIR}"]


def test_keys_of_its_own_go_before_those_of_the_suite() -> None:
    entries = [{"name": "digits", "transform": ["unit_norm"], "tasks": "upright->rotated"}, {"name": "shifts", "n": 60}]
    plan = make_plan(Suite.of({**TWO, "datasets": entries, "tasks": PAIR, "transform": "zscore"}))
    assert {(s.protocol.dataset, *s.protocol.transform) for s in plan.specs} == {
        ("digits", "unit_norm"), ("shifts", "zscore"),
    }  # fmt: skip
    assert {s.protocol.options["n"] for s in plan.specs if s.protocol.dataset == "shifts"} == {60}


def test_one_dataset_twice_has_two_names_and_never_mixes_its_samples() -> None:
    entries = [{"name": "digits"}, {"name": "digits", "as": "other", "data_seed": 1}]
    plan = make_plan(Suite.of({**TWO, "datasets": entries, "tasks": "upright->rotated"}))
    assert {s.task for s in plan.specs} == {"digits/upright->rotated", "other/upright->rotated"}
    load = Tasks()
    first, other = (load(next(s for s in plan.specs if s.task.startswith(n))) for n in ("digits", "other"))
    assert first.target.name == other.target.name and not first.target.x.equal(other.target.x)


def test_the_same_domain_under_other_options_is_another() -> None:
    """Tasks may be made of records of several forms of a suite."""
    load = Tasks()
    one, two = (
        load(make_plan(Suite.of({**TWO, "datasets": [{"name": "shifts", "n": n}], "tasks": PAIR})).specs[0])
        for n in (60, 80)
    )  # fmt: skip
    assert len(one.target.x) != len(two.target.x)


def test_one_dataset_under_two_sets_of_classes() -> None:
    entries = [{"name": "digits", "as": n, "classes": {"shared": k, "source": 2}} for n, k in (("few", 3), ("many", 6))]
    plan = make_plan(Suite.of({**TWO, "datasets": entries, "tasks": "upright->rotated", "closed_set_baselines": True}))
    load = Tasks()
    assert {s.task: load(s).n_classes for s in plan.specs} == {"few/upright->rotated": 5, "many/upright->rotated": 8}
    entries[0]["classes"] = {"shared": 3, "target": 2}
    with pytest.raises(DazooError, match="targets of few hold unknown classes, those of many do not; one suite avera"):
        make_plan(Suite.of({**TWO, "datasets": entries, "tasks": "upright->rotated", "closed_set_baselines": True}))


def test_patterns_of_a_suite_and_from_outside() -> None:
    suite = Suite.of(TWO)
    assert tasks_of(suite.narrow(tasks="upright->noisy")) == ["digits/upright->noisy"]
    assert tasks_of(suite.narrow(tasks="shifts/*->*"))[0].startswith("shifts/")
    assert len({t.partition("/")[0] for t in tasks_of(suite.narrow(tasks="*->*"))}) == 2
    with pytest.raises(DazooError, match="'nowhere->\\*' matches nothing in any of digits, shifts"):
        make_plan(suite.narrow(tasks="nowhere->*"))


MISTAKES = [
    ("dataset: digits\ndatasets: [digits]", 2, "one 'dataset' or a list 'datasets', not both keys"),
    ("datasets: []", 1, "the list 'datasets' is empty; name at least one dataset"),
    ("description: none", None, "the key 'dataset' is missing"),
    ("datasets:\n- digits\n- digits", 3, "two datasets are called 'digits'; tell them apart with 'as'"),
    ("datasets:\n- digits\n- {name: shifts, as: digits}", 3, "two datasets are called 'digits'"),
    ("datasets:\n- digits\n- digts", 3, "unknown dataset 'digts': did you mean 'digits'"),
    ("datasets:\n- digits\n- name: shifts\n  m: 3", 4, "dataset 'shifts' has no option 'm'"),
    ("datasets:\n- digits\n- name: shifts\n  tasks: [no->*]", 4, "the task pattern 'shifts/no->*' matches nothing"),
    ("datasets:\n- digits\n- shifts_regression", 3, "one suite averages one metric: make two suites of them"),
    ("datasets:\n- digits\n- {name: shifts, as: a/b}", 3, "the label of a dataset begins the names of tasks"),
    ("datasets:\n- digits\n- shifts\ntasks: upright->rotated", 3, "give 'shifts' a key 'tasks' of its own"),
    ("datasets:\n- digits\n- shifts\ntasks: [digits/*->*]", 3, "no task pattern of the suite is meant for 'shifts'"),
    ("datasets:\n- digits\n- 3", 3, "an entry is a name, or a mapping with the key 'name', not 3"),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES)
def test_mistakes_are_one_sentence_at_their_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"{text}\nmethods: [source_only]\nclassifier: 1nn\n")
    with pytest.raises(DazooError) as caught:
        make_plan(Suite.load(path))
    place = f"{path}, line {line}: " if line else f"{path}: "
    message = str(caught.value)
    assert words in message and "\n" not in message and (message.startswith(place) or not line)


# -- averages -------------------------------------------------------------------------------------------------------

VALUES = {
    "best": {"a/x->y": 0.9, "a/y->x": 0.7, "b/u->v": 0.5},
    "source_only": {"a/x->y": 0.6, "a/y->x": 0.6, "b/u->v": 0.9},
    "half": {"a/x->y": 0.95, "a/y->x": 0.95},
    "broken": {"a/x->y": 0.5, "a/y->x": math.nan, "b/u->v": 0.4},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of two datasets, of which one has two tasks; ``half`` was run on one of them, ``broken`` failed once."""
    writer = Writer(tmp_path / "r")
    for label, of in VALUES.items():
        for task, value in of.items():
            for seed in range(2):
                status = "failed" if math.isnan(value) else "ok"
                family = "baseline" if label == "source_only" else "other"
                points = accuracies(value + 0.02 * seed - 0.01)
                write_run(writer, label, task, seed, target=points, status=status, family=family, variant=task[0])
    writer.close()
    return tmp_path / "r"


def test_the_overall_mean_is_that_of_the_averages(folder: Path) -> None:
    board = leaderboard(read_runs(folder).runs, "last")
    rows = {r.label: r for r in board.rows}
    assert board.datasets == ("a", "b") and board.several
    assert rows["best"].averages == pytest.approx((0.8, 0.5)) and rows["best"].mean == pytest.approx(0.65)
    assert rows["source_only"].mean == pytest.approx(0.75)
    assert rows["half"].averages[0] == pytest.approx(0.95) and math.isnan(rows["half"].averages[1])
    assert math.isnan(rows["half"].mean) and math.isnan(rows["half"].rank) and rows["half"].problem == "not run on b"
    assert math.isnan(rows["broken"].averages[0]) and rows["broken"].averages[1] == pytest.approx(0.4)
    assert rows["broken"].problem == "failed 2 of 6 runs"
    assert [r.label for r in board.rows][:2] == ["source_only", "best"]
    ranks = {n: rows[n].rank for n in ("best", "source_only")}
    assert ranks == {"best": pytest.approx(4 / 3), "source_only": pytest.approx(5 / 3)}  # over tasks
    assert [c.task for c in board.columns] == ["a/x->y", "a/y->x", "", "b/u->v", ""]
    assert all(r.low < r.mean < r.high for r in board.rows[:2])


def test_the_interval_draws_tasks_within_datasets() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(m, 0.03, 3) for m in (0.9, 0.8, 0.7, 0.2, 0.3)]
    names = ["a", "a", "a", "b", "b"]
    low, high = bootstrap_interval(groups, datasets=names)
    drawn = []
    for _ in range(20_000):
        means = []
        for d in "ab":
            of = [g for g, n in zip(groups, names) if n == d]
            tasks = rng.integers(0, len(of), len(of))
            means.append(np.mean([rng.choice(of[t], 3).mean() for t in tasks]))
        drawn.append(np.mean(means))
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=4e-3)
    assert bootstrap_interval(groups, datasets="aaaaa") == bootstrap_interval(groups)
    assert bootstrap_interval(groups, draws=20_000, datasets=names) == pytest.approx((low, high), abs=4e-3)


def test_the_newest_form_of_a_label_counts_on_each_dataset(folder: Path) -> None:
    """``a`` and ``b`` have variants of their own; what the suite does not name any more is left out."""
    writer = Writer(folder)
    write_run(writer, "best", "a/x->y", target=accuracies(0.1), variant="later", started="2024-02-01T00:00:00")
    writer.close()
    runs = read_runs(folder)
    assert {(r.task, r.variant) for r in runs.runs if r.label == "best"} == {("a/x->y", "later"), ("b/u->v", "b")}
    (folder / "suite.yaml").write_text("datasets: [{name: digits, as: b}]\nmethods: [source_only]\n")
    assert {r.task for r in read_runs(folder).runs} == {"b/u->v"}


def test_the_tables_of_a_report(folder: Path) -> None:
    made = report(folder)
    with (folder / "leaderboard.csv").open() as file:
        rows = {r["method"]: r for r in csv.DictReader(file)}
    assert float(rows["best"]["mean.a"]) == pytest.approx(0.8) and float(rows["best"]["mean"]) == pytest.approx(0.65)
    assert rows["half"]["mean"] == "not run on b" and rows["half"]["mean.b"] == "" and rows["half"]["mean.a"]
    for name in ("per_task", "seconds"):
        with (folder / f"{name}.csv").open() as file:
            assert {r["dataset"] for r in csv.DictReader(file)} == {"a", "b"}
    text = (folder / "leaderboard.md").read_text()
    assert "| a/x->y | a/y->x | a, average | b/u->v | b, average |" in text
    assert "the mean of the averages over the tasks of each dataset" in text and "no overall mean" in text
    assert [made.board.short(t) for t in made.board.tasks] == ["a/x->y", "a/y->x", "b/u->v"]
    frame = dazoo.load_records(folder)
    assert frame.groupby("dataset").size().to_dict() == {"a": 16, "b": 6}


def test_the_page_groups_tasks_by_dataset(folder: Path) -> None:
    report(folder)
    page = (folder / "leaderboard.html").read_text()
    assert '<th scope="colgroup" colspan="3"><span>a</span></th><th scope="colgroup" colspan="2">' in page
    assert page.count(">average<") == 2 and "overall mean" in page and "not run on b" in page
    assert re.findall(r'data-at="(\d)"', page)[:3] == ["0", "1", "2"]


def test_a_validator_that_one_dataset_lacks_is_named_with_it(folder: Path) -> None:
    writer = Writer(folder)
    for task, score in (("a/x->y", 0.5), ("a/y->x", 0.5), ("b/u->v", None)):
        write_run(writer, "new", task, target=accuracies(0.6, 0.7), scores=scored("v", score, 0.1), variant=task[0])
    writer.close()
    board = report(folder, select_by="v").board
    assert {t: board.cells["new", t].picks for t in board.tasks} == {"a/x->y": (0,), "a/y->x": (0,), "b/u->v": (1,)}
    assert (
        "v gave no number at 1 of 6 checkpoints (b 1); it never chooses those."
        in (folder / "leaderboard.html").read_text()
    )


def test_what_was_skipped_names_its_dataset() -> None:
    rows = [{"label": "sa", "reason": "takes a single source", "task": f"a/{t}"} for t in ("x+y->z", "x+z->y")]
    assert skipped(rows) == [("takes a single source", ["sa"])]
    assert skipped(rows, several=True) == [("takes a single source, on a", ["sa"])]


def test_run_and_resume_over_datasets(tmp_path: Path) -> None:
    """The first run has one dataset; the suite then gets a second, and its runs alone are missing."""
    first = {**TWO, "datasets": TWO["datasets"][:1], "seeds": 1}
    run_suite(first, out=tmp_path / "r")
    job = prepare({**TWO, "seeds": 1}, out=tmp_path / "r")
    assert {s.task for s in job.missing} == {f"shifts/{PAIR}"}
    made = carry_out(job)
    assert made.board.datasets == ("digits", "shifts") and not any(r.problem for r in made.board.rows)
    assert not prepare({**TWO, "seeds": 1}, out=tmp_path / "r").missing
    with pytest.raises(DazooError, match="name one of the 3 tasks"):
        export_model(tmp_path / "r", tmp_path / "m.dazoo")
    done = export_model(tmp_path / "r", tmp_path / "m.dazoo", method="coral", task=PAIR)
    assert done.task == f"shifts/{PAIR}"


def test_a_task_name_of_two_datasets_is_not_guessed(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for name in ("a", "b"):
        write_run(writer, "best", f"{name}/x->y", target=accuracies(0.5))
    writer.close()
    with pytest.raises(DazooError, match="is a task of several datasets: name one of a/x->y, b/x->y"):
        export_model(tmp_path, tmp_path / "m.dazoo", task="x->y")


def test_the_latex_table_has_a_group_of_columns_per_dataset(folder: Path) -> None:
    text = latex(load_report(folder))
    lines = text.splitlines()
    assert r" & \multicolumn{3}{c}{a} & \multicolumn{2}{c}{b} &  \\" in lines
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-6}" in lines
    assert r"Method & x$\to$y & y$\to$x & Avg & u$\to$v & Avg & Mean \\" in lines
    assert "Avg: over the tasks of a dataset; Mean: of these averages." in text
    best = next(line for line in lines if line.startswith("best"))
    # a seed's mean is that of its averages, and every run here is 0.02 higher with the second seed
    assert "65.0" in best.split(" & ")[-1] and best.count(r"\pm$1.4") == 6
    half = next(line for line in lines if line.startswith("half"))
    assert half.endswith(r"& -- & -- & -- \\") and r"\textbf{95.0}" in half


def test_panels_keep_a_dataset_together_where_it_fits() -> None:
    groups = ["", "a", "a", "b", "b", "b", ""]
    assert panels([10] * 7, 100, groups) == [[1, 2, 3, 4, 5, 6]]
    assert panels([10] * 7, 50, groups) == [[1, 2], [3, 4, 5, 6]]
    assert panels([10] * 7, 40, groups) == [[1, 2, 3], [4, 5, 6]]  # b and the mean do not fit beside each other
