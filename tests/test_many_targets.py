"""Several targets of one task: pooled, told apart by number, named ``a->b+c``."""

import numpy as np
import pytest
import torch

import dazoo
from dazoo.bench.execute.tasks import Tasks
from dazoo.bench.plan.plan import make_plan
from dazoo.bench.plan.suite import Suite
from dazoo.contracts.toys import TINY
from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.data.domain import Domain
from dazoo.data.given import Given, _axes
from dazoo.data.names import split_name, targets_of
from dazoo.data.pooled import pooled
from dazoo.data.registry import expand_tasks, load_task
from dazoo.data.task import Task
from dazoo.methods.base import METHODS


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


def clouds(seed: int, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) + 3 * np.eye(3, 4)[y]).astype(np.float32), y


def test_several_targets_from_arrays() -> None:
    """As a list, by name, or one array with the domain of each sample: the same pool, tested each by itself."""
    (xs, ys), (xa, ya), (xb, yb) = clouds(0), clouds(1), clouds(2, 21)
    listed = Task.from_arrays(xs, ys, [xa, xb], [ya, yb])
    named = Task.from_arrays(xs, ys, {"lab": xa, "field": xb}, {"field": yb, "lab": ya})
    where = np.array(["lab"] * 30 + ["field"] * 21)
    order = np.random.default_rng(0).permutation(51)
    mixed = Task.from_arrays(xs, ys, np.concatenate([xa, xb])[order], np.r_[ya, yb][order], target_domain=where[order])
    for task in (listed, named, mixed):
        assert task.setting.name == "multi_target" and task.seen().n_targets == 2
        assert sorted(task.seen().target.domain.bincount().tolist()) == [21, 30]
    assert (listed.target.name, named.target.name, mixed.target.name) == ("target0+target1", "lab+field", "field+lab")
    found = [
        dazoo.evaluate(dazoo.fit("source_only", task, classifier="1nn", transform=None), task)
        for task in (named, mixed)
    ]
    assert found[0] == pytest.approx({k: found[1][k] for k in found[0]}) and "accuracy on field" in found[0]
    one = Task.from_arrays(xs, ys, [xa], [ya])
    assert one.setting.name == "unsupervised" and torch.equal(one.target.x, Task.from_arrays(xs, ys, xa, ya).target.x)


def test_several_targets_from_arrays_may_lack_labels() -> None:
    (xs, ys), (xa, ya), (xb, _) = clouds(0), clouds(1), clouds(2, 21)
    task = Task.from_arrays(xs, ys, {"a": xa, "b": xb}, {"a": ya}, few=([0, 31], [0, 1]))
    assert task.setting.name == "few_labels+multi_target" and task.seen().few.y.tolist() == [0, 1]
    assert dazoo.evaluate(dazoo.fit("ot_emd", task), task).keys() >= {"accuracy on a"}
    values = Task.from_arrays(xs, xs[:, 0], [xa, xb], [xa[:, 0], None])
    assert values.regression and len(values.target.labelled) == 30
    tested = Task.from_arrays(xs, ys, [xa, xb], xt_test=[xb, xa], yt_test=[ya[:21], ya])
    assert tested.hidden().member.bincount().tolist() == [21, 30]


def test_wrong_targets_are_named() -> None:
    (xs, ys), (xa, ya) = clouds(0), clouds(1)
    for given, words in [
        (dict(xt=[xa, xa], yt=[ya]), "2 arrays of target samples but 1"),
        (dict(xt={"a": xa, "b": xa}, yt=[ya, ya]), "dictionary, so their labels"),
        (dict(xt={"a+b": xa, "c": xa}), r"without '\+'"),
        (dict(xt=[xa, xa], yt=[ya, ya[:9]]), "target1 has 30 samples but 9 labels"),
        (dict(xt=[xa, xa[:, :3]]), "target1"),
        (dict(xt=xa, target_domain=["a", "b"]), "30 target samples, but target_domain names that of 2"),
        (dict(xt=[xa, xa], xt_test=xa), "test parts"),
    ]:
        with pytest.raises(DazooError, match=words):
            Task.from_arrays(xs, ys, **given)


def test_blind_targets_are_told_apart_by_the_test_alone() -> None:
    """The pool is the same, and nothing that a method sees says which sample is of which target."""
    known = load_task("digits/upright->rotated+scaled")
    blind = load_task("digits/upright->rotated+scaled", setting="blind_targets")
    assert blind.setting.name == "blind_targets" and torch.equal(blind.target.x, known.target.x)
    seen = blind.seen()
    assert seen.target.domain is None and seen.n_targets == 1 and blind.hidden().member is not None
    assert load_task("digits/upright->rotated+scaled", setting="source_free+blind_targets").seen().n_targets == 1
    suite = Suite.of(
        {"name": "blind", "dataset": "digits", "tasks": ["upright->rotated+scaled"], "setting": "blind_targets",
         "methods": ["sa"]}
    )  # fmt: skip
    spec = make_plan(suite).specs[0]
    assert spec.setting == "blind_targets" and Tasks()(spec).seen().target.domain is None


def test_targets_that_are_labelled_in_part_are_pooled() -> None:
    x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    part = Domain("a", x, y, ("p", "q"), known=torch.tensor([True, True, False, True]), few=torch.tensor([1]))
    both = pooled([Domain("b", x, y, ("p", "q")), part])
    assert both.labelled.tolist() == [0, 1, 2, 3, 4, 5, 7] and both.few.tolist() == [5]
    whole = Domain("c", x, y, ("p", "q"), test=Domain("c", x, y, ("p", "q")))
    assert pooled([whole, whole]).test.member.tolist() == [0] * 4 + [1] * 4
    for other, words in ((whole, "test parts"), (Domain("d", x, None, ("p", "q")), "some have none")):
        with pytest.raises(DazooError, match=words):
            pooled([part, other])


def test_batches_say_of_which_target_their_samples_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    losses = METHODS.get("dann").losses

    def look(self, net, b, t):
        found.append((net.n_targets, None if b.dt is None else torch.equal(b.dt, whole[b.t_rows])))
        return losses(self, net, b, t)

    monkeypatch.setattr(METHODS.get("dann"), "losses", look)
    (xs, ys), (xa, _), (xb, _) = clouds(0), clouds(1), clouds(2, 21)
    task = Task.from_arrays(xs, ys, [xa, xb])
    whole = task.seen().target.domain
    for setting, expected in (("multi_target", (2, True)), ("blind_targets", (1, None))):
        found.clear()
        dazoo.fit("dann", task.change(setting=setting), recipe=TINY)
        assert set(found) == {expected}


def test_samples_of_unlike_length_are_no_targets() -> None:
    waves = [np.zeros(40 + i, dtype=np.float32) for i in range(6)]
    assert Given.of(waves, None, None, _axes(waves)).names == ("target",)
    assert Given.of([waves, waves], None, None, _axes(waves)).names == ("target0", "target1")
    assert Given.of(["a word", "two"], None, None, _axes(["one"])).names == ("target",)
