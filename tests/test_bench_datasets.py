"""Suites of several datasets: what they may say, their runs, and averages per dataset and overall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.shipped import find_suite
from dazoo.bench.plan.suite import Suite
from dazoo.bench.suite_run import prepare
from dazoo.core.errors import DazooError

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


@pytest.mark.parametrize("name", ["digits", "regret_digits"])
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
