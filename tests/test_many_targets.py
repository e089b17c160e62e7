"""Several targets of one task: pooled, told apart by number, named ``a->b+c``."""

import pytest

from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.names import split_name, targets_of
from dazoo.data.registry import expand_tasks, load_task


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
