"""Several targets of one task: pooled, told apart by number, named ``a->b+c``."""

import dataclasses

import pytest
import torch

from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain
from dazoo.data.names import split_name, targets_of
from dazoo.data.pool import pooled
from dazoo.data.registry import expand_tasks, load_task


def _domain(name: str, n: int, start: float = 0.0, **fields) -> Domain:
    return Domain(name, start + torch.arange(2.0 * n).reshape(n, 2), torch.arange(n) % 2, ("a", "b"), **fields)


def test_pooled_targets_keep_samples_labels_and_where_they_are_from() -> None:
    one, two = _domain("one", 3), _domain("two", 4, 100.0, known=torch.tensor([True, False, True, True]))
    both = pooled("one+two", [one, two])
    assert both.name == "one+two" and torch.equal(both.x, torch.cat([one.x, two.x]))
    assert both.member is not None and both.member.tolist() == [0] * 3 + [1] * 4
    assert both.labelled.tolist() == [0, 1, 2, 3, 5, 6]
    assert pooled("one", [one]) is one


def test_few_labels_and_test_parts_move_along() -> None:
    parts = [
        dataclasses.replace(_domain(n, 4, test=_domain(n, k)), few=torch.tensor([1, 2]))
        for n, k in (("p", 2), ("q", 3))
    ]
    both = pooled("p+q", parts)
    assert both.few is not None and both.few.tolist() == [1, 2, 5, 6]
    assert both.test is not None and len(both.test) == 5


@pytest.mark.parametrize(
    "other",
    [
        Domain("odd", torch.zeros(3, 5), torch.zeros(3, dtype=torch.int64), ("a", "b")),
        Domain("odd", torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), ("a", "c")),
        Domain("odd", torch.zeros(3, 2), None, ("a", "b")),
    ],
)
def test_targets_that_do_not_go_together_are_refused(other: Domain) -> None:
    with pytest.raises(DazooError, match="odd"):
        pooled("one+odd", [_domain("one", 3), other])


def test_names_of_tasks_with_several_targets() -> None:
    assert split_name("d/a->b+c") == ("d", ("a",), "b+c") and targets_of("b+c") == ("b", "c")
    assert targets_of("b") == ("b",)
    for twice in ("d/a->b+b", "d/a->b+a", "d/a+b->c+b"):
        with pytest.raises(DazooError, match="twice"):
            split_name(twice)
    with pytest.raises(DazooError, match="nowhere"):
        expand_tasks(["digits/upright->rotated+nowhere"])


def test_a_task_and_a_suite_see_the_same_pool() -> None:
    task = load_task("digits/upright->rotated+scaled", setting="source_free")
    assert task.setting == Setting.of("source_free+multi_target") and task.seen().target.domain is not None
    suite = Suite.of(
        {
            "name": "pool", "dataset": "digits", "tasks": ["upright->rotated+scaled"], "setting": "source_free",
            "methods": ["shot"], "recipe": "digits", "backbone": "mlp",
        }
    )  # fmt: skip
    spec = make_plan(suite).specs[0]
    assert spec.setting == task.setting.value
    assert Tasks()(spec).target.fingerprint == task.target.fingerprint
