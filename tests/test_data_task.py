"""Domains and tasks: bad input is refused with a clear sentence, and hidden labels are nowhere in ``Seen``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dazoo
from dazoo.core.errors import DazooError
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, ORACLE, UNSUPERVISED, Setting
from dazoo.core.types import Seen
from dazoo.data.domain import Domain
from dazoo.data.registry import load_task
from dazoo.data.task import Task
from dazoo.engine.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3)).astype(np.float32)
Y = np.arange(12) % 3


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor that can be reached from a value through dataclass fields, attributes and containers."""
    if isinstance(value, Tensor):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in vars(value).values():
            yield from tensors(field)
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from tensors(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from tensors(item)


def holds_labels(seen: Seen, hidden: Tensor) -> bool:
    """Whether ``hidden`` (n,) stands in ``seen``: as a tensor, or as a column or row of one."""
    wanted = hidden.double()
    for tensor in tensors(seen):
        t = tensor.double()
        if t.shape == wanted.shape and torch.equal(t, wanted):
            return True
        if t.ndim == 2 and t.shape[0] == len(wanted) and bool((t == wanted[:, None]).all(0).any()):
            return True
        if t.ndim == 2 and t.shape[1] == len(wanted) and bool((t == wanted[None]).all(1).any()):
            return True
    return False


@pytest.mark.parametrize("setting", [UNSUPERVISED, MULTI_SOURCE, FEW_LABELS, ORACLE])
@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_hidden_labels_are_nowhere_in_seen(setting: Setting, holdout: float):
    name = "digits/rotated+noisy->upright" if setting == MULTI_SOURCE else "digits/rotated->upright"
    task = load_task(name, setting=setting, target_holdout=holdout, source_holdout=0.2)
    seen, hidden = task.seen(), task.hidden()
    assert len(list(tensors(seen))) >= 7 and len(hidden.y) > 50
    assert not holds_labels(seen, hidden.y) and not holds_labels(seen, task.target.y)
    assert holds_labels(dataclasses.replace(seen, kind=[hidden.y]), hidden.y)  # the search itself works
    assert {f.name for f in dataclasses.fields(seen.target)} == {"x", "domain"} and seen.target.domain is None


@pytest.mark.parametrize("setting", [UNSUPERVISED, MULTI_SOURCE])
@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_other_hidden_labels_leave_seen_as_it_was(setting: Setting, holdout: float):
    task = load_task("digits/rotated->upright", setting=setting, target_holdout=holdout, source_holdout=0.2)
    other = task.change(target=dataclasses.replace(task.target, y=task.target.y.roll(1)))
    assert all(torch.equal(a, b) for a, b in zip(tensors(task.seen()), tensors(other.seen()), strict=True))


@pytest.mark.parametrize("setting", [FEW_LABELS, ORACLE])
def test_visible_labels_are_not_tested_on(setting: Setting):
    task = load_task("digits/rotated->upright", setting=setting)
    seen, hidden = task.seen(), task.hidden()
    rows = {tuple(r) for r in seen.few.x.tolist()}
    assert rows and not rows & {tuple(r) for r in hidden.x.tolist()}
    assert torch.equal(seen.target.x, hidden.x) and len(seen.few) + len(hidden.y) == len(task.target)
    if setting == FEW_LABELS:
        assert torch.bincount(seen.few.y).tolist() == [3] * 10
    assert torch.equal(task.change(seed=0).seen().few.x, seen.few.x)
    assert not torch.equal(task.change(seed=1).seen().few.x, seen.few.x)


def test_held_out_source_rows_are_disjoint_and_stratified():
    task = load_task("digits/rotated+noisy->upright", source_holdout=0.2)
    seen = task.seen()
    kept, held = ({tuple(r) for r in part.x.tolist()} for part in (seen.source, seen.source_val))
    assert not kept & held and len(kept) + len(held) == sum(len(s) for s in task.sources)
    assert set(seen.source_val.y.tolist()) == set(range(10)) and set(seen.source.domain.tolist()) == {0, 1}


def test_a_test_part_is_hidden_and_the_rest_is_seen():
    task = Task.from_arrays(X, Y, X + 1, Y, xt_test=X + 2, yt_test=Y)
    assert torch.equal(task.seen().target.x, torch.from_numpy(X + 1))
    assert torch.equal(task.hidden().x, torch.from_numpy(X + 2))


# -- bad input ----------------------------------------------------------------------------------------------------


def bad(**changes: Any) -> Task:
    return Task.from_arrays(**{"xs": X, "ys": Y, "xt": X, "yt": Y, **changes})


def with_nan() -> np.ndarray:
    x = X.copy()
    x[4, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"xs": with_nan()}, "'source': 1 of 12 samples hold NaN"),
        ({"xt": with_nan()}, "'target': 1 of 12 samples hold NaN"),
        ({"xt": np.where(np.isnan(with_nan()), np.inf, X)}, "infinite"),
        ({"xt": X[:0], "yt": Y[:0]}, "'target' is empty"),
        ({"xs": X[:0], "ys": Y[:0]}, "'source' is empty"),
        ({"ys": np.zeros(12, int)}, "only the class \\['0'\\]"),
        ({"ys": np.zeros(12, int), "yt": None}, "only the class \\['0'\\]"),
        ({"xs": X[:1], "ys": Y[:1]}, "at least two"),
        ({"ys": Y[:5]}, "12 samples but 5 labels"),
        ({"yt": Y[:5]}, "12 samples but 5 labels"),
        ({"xt": X[:, :2]}, "one feature space"),
        ({"xt": X.reshape(12, 3, 1)}, "one feature space"),
        ({"xs": X[:, 0]}, "must be \\(n, features\\)"),
        ({"xs": [[1.0, 2.0], [3.0]], "ys": [0, 1]}, "same length"),
        ({"xs": np.array([["a", "b"]] * 12)}, "no array of numbers"),
        ({"yt": Y + 2}, "closed-set, but no source has a sample of the target's classes \\['3', '4'\\]"),
        ({"yt": Y + 0.5}, "use one kind"),
        ({"ys": Y + np.where(Y > 1, np.nan, 0.0)}, "targets hold NaN"),
        ({"ys": np.array([None] * 12)}, "missing values"),
        ({"ys": np.stack([Y, Y], 1)}, "one value per sample"),
        ({"xs": [X, X], "ys": [Y]}, "2 arrays of source samples but 1"),
        ({"xt_test": X[:, :2], "yt_test": Y}, "test part"),
        ({"source_holdout": 1.0}, "source_holdout must lie in"),
        ({"target_holdout": -0.1}, "target_holdout must lie in"),
        ({"few_per_class": 0}, "at least 1"),
    ],
)
def test_bad_arrays_are_refused(changes: dict[str, Any], says: str):
    with pytest.raises(DazooError, match=says):
        bad(**changes)


def test_splits_that_leave_nothing_are_refused():
    with pytest.raises(DazooError, match="lower few_per_class"):
        bad(setting=FEW_LABELS, few_per_class=4).seen()
    with pytest.raises(DazooError, match="needs labelled target"):
        bad(setting=FEW_LABELS, yt=None).seen()
    with pytest.raises(DazooError, match="too small to label"):
        bad(setting=ORACLE, xt=X[:1], yt=Y[:1]).seen()
    with pytest.raises(DazooError, match="too small to hold out"):
        bad(target_holdout=0.5, xt=X[:1], yt=Y[:1]).seen()


def test_one_target_sample_and_a_class_missing_in_the_target_are_fine():
    assert len(bad(xt=X[:1], yt=Y[:1]).seen().target) == 1
    task = bad(yt=np.zeros(12, int))
    assert task.n_classes == 3 and task.hidden().y.tolist() == [0] * 12


def test_kinds_of_labels():
    assert bad(ys=Y > 0, yt=Y > 0).classes == ("0", "1")
    text = bad(ys=np.array(list("cab" * 4)), yt=np.array(list("abc" * 4)))
    assert text.classes == ("a", "b", "c") and text.sources[0].y[:3].tolist() == [2, 0, 1]
    assert bad(ys=Y + 9, yt=Y + 9.0).classes == ("9", "10", "11")
    assert bad(ys=Y + 0.5, yt=Y).regression and bad(ys=Y[:, None]).n_classes == 3
    assert len(bad(xs=[X, X + 1], ys=[Y, Y]).sources) == 2
    assert torch.equal(bad(xs=torch.from_numpy(X), ys=torch.from_numpy(Y)).sources[0].x, bad().sources[0].x)


def domain(**changes: Any) -> Domain:
    fields = {"name": "d", "x": torch.zeros(4, 2), "y": torch.tensor([0, 1, 0, 1]), "classes": ("a", "b"), **changes}
    return Domain(**fields)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "picture"}, "kind must be one of"),
        ({"x": torch.zeros(0, 2), "y": torch.zeros(0, dtype=torch.int64)}, "is empty"),
        ({"y": torch.tensor([0, 1, 2, 1])}, "from 0 to 2, but there are 2 class names"),
        ({"y": torch.tensor([0, 1, -1, 1])}, "from -1 to 1"),
        ({"y": torch.tensor([0, 1, 0, 1], dtype=torch.int32)}, "must be int64"),
        ({"y": torch.zeros(4, 1)}, "must be \\(n,\\)"),
        ({"classes": ("a", "a")}, "names a class twice"),
        ({"y": torch.tensor([0.0, 1.0, float("nan"), 1.0]), "classes": ()}, "targets hold NaN"),
    ],
)
def test_bad_domains_are_refused(changes: dict[str, Any], says: str):
    with pytest.raises(DazooError, match=says):
        domain(**changes)


def test_bad_tasks_are_refused():
    with pytest.raises(DazooError, match=r"only in 'd' \['b'\], only in 'e' \['c'\]"):
        Task("t", (domain(),), domain(name="e", classes=("a", "c")))
    with pytest.raises(DazooError, match="has no labels"):
        Task("t", (domain(y=None),), domain())
    with pytest.raises(DazooError, match="no source domain"):
        Task("t", (), domain())
    with pytest.raises(DazooError, match="mixes class labels and float targets"):
        Task("t", (domain(), domain(y=torch.rand(4), classes=())), domain())
    for name in ("digits/upright->upright", "digits/upright+upright->noisy", "digits/noisy+upright->upright"):
        with pytest.raises(DazooError, match="twice"):
            load_task(name)


def test_fingerprints_follow_the_content():
    prints = [
        domain(),
        domain(x=torch.ones(4, 2)),
        domain(y=torch.tensor([1, 0, 0, 1])),
        domain(y=None),
        domain(classes=("a", "c")),
        domain(kind="series"),
        domain(test=domain()),
        domain(x=torch.zeros(4, 2, dtype=torch.float64)),
    ]
    assert len({d.fingerprint for d in prints}) == len(prints)
    assert domain(name="other").fingerprint == domain().fingerprint


@pytest.mark.parametrize("method", ["coral", "dann"])
def test_a_model_takes_the_arrays_that_the_task_was_made_of(method: str) -> None:
    """As in the first lines of the README: arrays in, arrays to predict."""
    rng = np.random.default_rng(0)
    xs, ys, xt = rng.standard_normal((40, 3)), np.array(["no", "yes"] * 20), rng.standard_normal((9, 3))
    recipe = None if method == "coral" else Recipe.named("frozen", steps=5)
    model = dazoo.fit(method, Task.from_arrays(xs, ys, xt), recipe=recipe)
    wanted = model.predict(torch.from_numpy(xt)).scores
    for given in (xt, xt.tolist()):
        assert torch.equal(model.predict(given).scores, wanted)
    with pytest.raises(DazooError, match="samples must be an array of numbers"):
        model.predict("yes")
