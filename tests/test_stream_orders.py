"""In which order samples arrive: decided by the seed, the same for all methods, and settable in suites."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from dazoo.data.arrival import Arrival

NAME = "digits/upright->noisy+blurred"


def rows(y: list[int], member: list[int] | None = None, seed: int = 0, **options: object) -> np.ndarray:
    given = Arrival(**options)  # type: ignore[arg-type]
    given.check()
    of = None if member is None else torch.tensor(member)
    return given.rows(len(y), of, torch.tensor(y), np.random.default_rng(seed)).numpy()


Y = np.random.default_rng(3).integers(0, 4, 400).tolist()
TWO = [0] * 150 + [1] * 250


def runs(y: np.ndarray) -> int:
    """How often the class changes from one sample to the next."""
    return int((np.diff(y) != 0).sum())


@pytest.mark.parametrize("order", ["shuffled", "class_sorted", "dirichlet"])
@pytest.mark.parametrize("mixed", [False, True])
def test_every_sample_arrives_once_a_round(order: str, mixed: bool) -> None:
    found = rows(Y, TWO, order=order, mixed=mixed, rounds=2)
    assert sorted(found[:400]) == sorted(found[400:]) == list(range(400)) and not (found[:400] == found[400:]).all()
    assert (found == rows(Y, TWO, order=order, mixed=mixed, rounds=2)).all()
    assert not (found == rows(Y, TWO, seed=1, order=order, mixed=mixed, rounds=2)).all()
    which = np.array(TWO)[found[:400]]
    assert (runs(which) == 1) == (not mixed)


def test_orders_differ_in_how_long_a_class_lasts() -> None:
    y = np.array(Y)
    assert runs(y[rows(Y, order="class_sorted")]) == 3
    assert runs(y[rows(Y, TWO, order="class_sorted")]) in (6, 7)
    tight, loose = (runs(y[rows(Y, order="dirichlet", delta=d)]) for d in (0.01, 1000.0))
    assert 3 <= tight <= loose <= 15 and runs(y[rows(Y)]) > 200


def test_what_is_no_order_is_said() -> None:
    for options, words in [
        ({"order": "sorted"}, "unknown order 'sorted' of a stream"),
        ({"delta": 0}, "delta must be a number above 0"),
        ({"rounds": 0}, "rounds must be a whole number"),
        ({"mixed": 1}, "mixed is true or false"),
    ]:
        with pytest.raises(DazooError, match=words):
            dazoo.load_task(NAME, setting="test_time", **options)
    blind = dazoo.Task.from_arrays(np.eye(6), [0, 1] * 3, np.eye(6), setting="test_time", order="class_sorted")
    with pytest.raises(DazooError, match="needs the classes of all target samples"):
        blind.seen()


def test_several_targets_arrive_one_after_the_other_and_are_tested_each() -> None:
    task = dazoo.load_task(NAME, setting="test_time", batch=32, rounds=2)
    assert task.setting.name == "continual" and len(task.seen().stream) == 2 * 598
    assert {f for f in vars(task.seen().stream)} == {"x", "batch", "episodic"}  # nothing tells where a target ends
    hidden = task.hidden()
    assert torch.equal(hidden.x, task.seen().stream.x)
    assert runs(hidden.member.numpy()) == 3 and runs(task.change(mixed=True).hidden().member.numpy()) > 100
    recipe = dazoo.engine.recipe.Recipe.named("digits", steps=20, batch=16, bottleneck=8, norm="batch")
    found = dazoo.evaluate(dazoo.fit("tent", task, recipe=recipe, backbone="mlp"), task)
    each = [found[f"online_accuracy on {name}"] for name in ("noisy", "blurred")]
    assert found["online_accuracy"] == pytest.approx(np.mean(each)) and len(set(each)) == 2
    assert {"after on noisy", "after on blurred", "after", "forgetting"} <= set(found)


SUITE = {
    "datasets": [
        {"name": "digits", "as": "continual", "tasks": [NAME.partition("/")[2]], "stream": {"batch": 16}},
        {"name": "digits", "as": "sorted", "tasks": ["upright->noisy"], "stream": {"order": "class_sorted"}},
    ],
    "methods": ["source_stream", "tent"],
    "setting": "test_time",
    "recipe": {"name": "digits", "steps": 2, "norm": "batch"},
    "backbone": "mlp",
}


def test_suites_say_how_streams_arrive() -> None:
    plan = make_plan(Suite.of(SUITE))
    assert {(s.task, s.setting) for s in plan.specs} == {
        ("continual/upright->noisy+blurred", "continual"),
        ("sorted/upright->noisy", "test_time"),
    }
    assert not plan.skipped and len({s.key for s in plan.specs}) == 4
    tasks = {s.task.partition("/")[0]: Tasks()(s) for s in plan.specs}
    assert tasks["continual"].batch == 16 and tasks["sorted"].order == "class_sorted"
    assert plan.specs[0].data_key != make_plan(Suite.of(SUITE | {"seeds": [1]})).specs[0].data_key
    plain = make_plan(Suite.of({"dataset": "digits", "methods": ["mean_teacher"], "recipe": "digits"})).specs[0]
    assert "stream" not in plain.protocol.plain


def test_mistakes_in_a_suites_stream_are_named() -> None:
    def of(stream: dict, **more: object) -> Suite:
        data = {k: v for k, v in SUITE.items() if k != "datasets"} | {"dataset": "digits", "stream": stream}
        return Suite.of(data | more)

    for suite, words in [
        (of({"bach": 3}), "a stream has no option 'bach'.*batch"),
        (of({"batch": 0}), "batch must be a whole number"),
        (of({"batch": 3}, setting="source_free"), "nothing arrives as a stream in the setting 'source_free'"),
    ]:
        with pytest.raises(DazooError, match=words):
            make_plan(suite)
