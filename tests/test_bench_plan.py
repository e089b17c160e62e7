"""Plans: which runs a suite means, what is skipped and why, and keys that cover what determines a result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.bench.records.store import Writer, stored
from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, ORACLE, UNSUPERVISED
from dazoo.methods.base import METHODS, GradientMethod, ShallowMethod, register
from tests.bench_tools import SMALL


def declare(name: str, base: type = ShallowMethod, **attributes: Any) -> None:
    cls = type(name, (base,), {"__module__": __name__, "__annotations__": {"knob": float}, "knob": hp(1.0, 0.1, 10.0),
                               "paper": Paper("t", "a", 2000, "https://example.org"), **attributes})  # fmt: skip
    made = register(cls)
    made.name = name
    METHODS._items.pop("test_bench_plan", None)
    METHODS._items[name] = made


@pytest.fixture
def methods() -> Iterator[None]:
    METHODS.discover()
    before = dict(METHODS._items)
    declare("plain_one", deterministic=True)
    declare("several", settings=frozenset({UNSUPERVISED, MULTI_SOURCE}))
    declare("few_only", settings=frozenset({FEW_LABELS}))
    declare("oracle_only", settings=frozenset({ORACLE}))
    declare("values_only", targets=frozenset({"values"}))
    declare("gradient_one", GradientMethod)
    yield
    METHODS._items.clear()
    METHODS._items.update(before)


def plan(**change: Any):  # type: ignore[no-untyped-def]
    return make_plan(Suite.of({**SMALL, **change}))


def test_settings_follow_what_methods_declare(methods: None) -> None:
    names = ["plain_one", "several", "few_only", "oracle_only", "values_only", "gradient_one"]
    made = plan(methods=names, tasks=["upright->rotated", "upright+noisy->rotated"], seeds=1)
    got = {(s.label, s.task.partition("/")[2]): s.setting for s in made.specs}
    assert got == {
        ("plain_one", "upright->rotated"): "unsupervised",
        ("several", "upright->rotated"): "unsupervised",
        ("few_only", "upright->rotated"): "few_labels",
        ("oracle_only", "upright->rotated"): "oracle",
        ("several", "upright+noisy->rotated"): "multi_source",
        ("few_only", "upright+noisy->rotated"): "few_labels",
        ("oracle_only", "upright+noisy->rotated"): "oracle",
    }
    reasons = {(s.label, s.task.partition("/")[2]): s.reason for s in made.skipped}
    assert "single source" in reasons["plain_one", "upright+noisy->rotated"]
    assert "predicts values" in reasons["values_only", "upright->rotated"]
    assert "no recipe" in reasons["gradient_one", "upright->rotated"]
    assert {s.label for s in plan(methods=["gradient_one"], recipe="digits").specs} == {"gradient_one"}


def test_a_suite_nothing_can_run_is_an_error(methods: None) -> None:
    with pytest.raises(DazooError, match=r"no method of this suite can run.*values_only: predicts values"):
        plan(methods=["values_only"])


def test_deterministic_methods_run_one_seed_where_the_seed_changes_nothing(methods: None) -> None:
    assert [s.seed for s in plan(methods=["plain_one"], tasks="upright->noisy", source_holdout=0.0).specs] == [0]
    assert len(plan(methods=["plain_one"], tasks="upright->noisy", source_holdout=0.2).specs) == 2
    assert len(plan(methods=["several"], tasks="upright->noisy", source_holdout=0.0).specs) == 2


def test_trials_start_with_the_defaults_and_keep_fixed_values(methods: None) -> None:
    specs = plan(methods=["several"], trials=4, seeds=1, tasks="upright->noisy").specs
    knobs = [s.hparams["knob"] for s in specs]
    assert knobs[0] == 1.0 and len(set(knobs)) == 4 and all(0.1 <= k <= 10 for k in knobs)
    fixed = plan(methods=[{"name": "several", "knob": 3.0}], trials=4, seeds=1, tasks="upright->noisy").specs
    assert [s.hparams["knob"] for s in fixed] == [3.0]


CHANGES: list[dict[str, Any]] = [
    {"dataset": {"name": "digits", "data_seed": 1}},
    {"transform": ["zscore"]},
    {"backbone": "mlp"},
    {"image_size": 16},
    {"classifier": {"name": "1nn", "k": 5}},
    {"recipe": "digits"},
    {"recipe": {"name": "digits", "steps": 7}},
    {"few_labels": 4},
    {"source_holdout": 0.1},
    {"target_holdout": 0.1},
    {"checkpoints": 2},
    {"validators": ["entropy", "info_max"]},
    {"methods": [{"name": "coral", "reg": 0.123}]},
    {"methods": [{"name": "coral", "as": "other"}]},
    {"seeds": [9]},
    {"tasks": "upright->noisy"},
]


def test_keys_cover_all_that_determines_a_result_and_nothing_else() -> None:
    base = {"methods": ["coral"], "seeds": [0], "tasks": "upright->rotated"}
    keys = [plan(**base).specs[0].key] + [plan(**{**base, **c}).specs[0].key for c in CHANGES]
    assert len(set(keys)) == len(keys)
    unrelated = {"name": "other", "description": "d", "select_by": "entropy", "metric": "macro_f1"}
    assert plan(**base, **unrelated).specs[0].key == keys[0]
    source = {"coral": "abc"}
    assert make_plan(Suite.of({**SMALL, **base}), None, source).specs[0].key not in keys


def test_ten_thousand_finished_runs_leave_nothing_to_do(tmp_path) -> None:  # type: ignore[no-untyped-def]
    suite = Suite.of({**SMALL, "tasks": "*->*", "methods": ["source_only", "coral", "sa"], "seeds": 112})
    writer = Writer(tmp_path)
    point = {"step": 1, "fraction": 1.0, "scores": {"info_max": 0.123456789}, "target": {"accuracy": 0.5}}
    for spec in make_plan(suite).specs:
        writer.append(spec.key, "ok", {"variant": spec.variant, "spec": spec.to_json(), "checkpoints": [point] * 20})
    made = make_plan(suite)
    missing = made.missing(stored(tmp_path)[0])
    assert len(made.specs) == 30 * 3 * 112 and not missing


def test_a_method_may_be_fitted_by_the_classifier_beside_its_network():
    """source_only as a network and as the plain classifier: two rows, two protocols."""
    base = {"dataset": "digits", "tasks": ["upright->rotated"], "recipe": "digits", "backbone": "mlp", "seeds": 1}
    both = ["source_only", {"name": "source_only", "as": "plain", "solver": "shallow"}]
    suite = Suite.of({**base, "classifier": "logistic", "methods": both})
    network, plain = make_plan(suite).specs
    assert (network.label, plain.label) == ("source_only", "plain") and network.key != plain.key
    assert network.protocol.recipe is not None and plain.protocol.recipe is None
    alone = Suite.of({**base, "methods": [{"name": "dann", "solver": "shallow"}, "source_only"]})
    assert [(s.label, s.reason) for s in make_plan(alone).skipped] == [
        ("dann", "is trained by gradients, and no recipe is given")
    ]
    with pytest.raises(DazooError, match="takes no options"):
        make_plan(Suite.of({**base, "methods": [{"name": "ot_*", "solver": "shallow"}]}))
