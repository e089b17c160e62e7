"""Labels mean one thing everywhere, and a target may be labelled in part."""

from __future__ import annotations

import dataclasses
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError, DazooWarning, UnknownName
from dazoo.core.setting import FEW_LABELS, MULTI_SOURCE, ORACLE, UNSUPERVISED, Setting
from dazoo.core.types import Prediction
from dazoo.data.labels import read
from dazoo.data.task import Task
from dazoo.engine.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
Y = np.arange(12) % 3
NAMES = np.array(["a", "b", "c"])[Y]
BRIEF = Recipe.named("frozen", steps=3, grad_clip=1.0)
GAPS = [None, np.nan, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("nan"), "", "nan", "<NA>"]


def task(ys: Any = Y, yt: Any = None, **options: Any) -> Task:
    return Task.from_arrays(X, ys, X + 1, yt, **options)


# -- what a label means -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        Y.astype(float), Y.astype(np.float32), Y.astype(np.uint8), Y.astype(">i2"), Y.astype(object), Y.tolist(),
        Y[:, None], [[v] for v in Y.tolist()], [np.int64(v) for v in Y], [torch.tensor(v) for v in Y], tuple(Y),
        torch.from_numpy(Y), torch.from_numpy(Y).float().requires_grad_(), torch.from_numpy(Y).to(torch.bfloat16),
        pd.Series(Y, index=range(50, 62)), pd.Series(Y).astype("Int64"), pd.Series(Y).astype("category"),
        pd.DataFrame({"y": Y}), pd.Categorical(Y), np.ma.masked_array(Y), [Decimal(int(v)) for v in Y],
        [float(v) if i % 2 else int(v) for i, v in enumerate(Y)],
        [str(v) if i % 2 else int(v) for i, v in enumerate(Y)],
        Y.astype(str), Y.astype("S"), Y.astype(str).tolist(),
    ],
)  # fmt: skip
def test_the_same_labels_in_other_clothes_are_the_same_task(y: Any):
    made = task(y, y)
    assert made.classes == ("0", "1", "2") and made.sources[0].fingerprint == task(Y, Y).sources[0].fingerprint
    assert torch.equal(made.target.y, torch.from_numpy(Y)) and made.target.known is None
    mixed = Task.from_arrays([X, X], [Y, y], X)
    assert mixed.n_classes == 3 and torch.equal(mixed.sources[0].y, mixed.sources[1].y)


@pytest.mark.parametrize(
    "y", [NAMES, NAMES.astype("S"), NAMES.astype(object), list(NAMES), pd.Series(NAMES, dtype="string")]
)
def test_text_and_bytes_are_class_names(y: Any):
    assert task(y).classes == ("a", "b", "c") and task(y).sources[0].y.tolist() == Y.tolist()


def test_numbers_stand_in_numerical_order_and_truth_values_are_0_and_1():
    assert task(np.array([10, 9, 2])[Y]).classes == task(np.array(["10", "9", "2"])[Y]).classes == ("2", "9", "10")
    for y in (Y > 0, (Y > 0).tolist(), pd.Series(Y > 0).astype("boolean")):
        assert task(y).classes == ("0", "1")
    assert task([1, 2, "x"] * 4).classes == ("1", "2", "x")
    assert task(np.array([0.1, 0.7])[Y % 2].astype(np.float32), targets="classes").classes == ("0.1", "0.7")
    assert task(np.array([2**70, 1, 2], dtype=object)[Y]).classes == ("1", "2", str(2**70))


def test_targets_decide_whether_numbers_are_classes_or_values():
    assert task(Y.astype(float), targets="values").regression and task(Y, targets="values").regression
    assert task(Y / 7).regression and not task(Y / 7, targets="classes").regression
    assert task(Y / 7, Y).regression and task(Y / 7, Y).target.y.dtype == torch.float64
    assert Task.from_arrays([X, X], [Y / 7, Y], X).regression
    with pytest.raises(DazooError, match="targets='values'"):
        task(Y, Y / 7)
    assert task(Y, Y / 7, targets="values").regression
    for ys, yt in ((NAMES, None), (Y / 7, NAMES)):
        with pytest.raises(DazooError, match="no numbers"):
            task(ys, yt, targets="values" if yt is None else "auto")
    with pytest.raises(DazooError, match="text in one part and fractions in another"):
        Task.from_arrays([X, X], [NAMES, Y / 7], X)
    with pytest.raises(DazooError, match="auto, classes, values"):
        task(targets="numbers")


def test_many_different_whole_floats_are_doubted():
    x, y = RNG.standard_normal((60, 3)), np.arange(60) * 10.0
    with pytest.warns(DazooWarning, match=r"60 different whole numbers in 60 samples.*targets='values'"):
        assert Task.from_arrays(x, y, x).n_classes == 60
    for given, targets in ((y, "values"), (y, "classes"), (y.astype(int), "auto"), (y % 30, "auto"), (y / 7, "auto")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Task.from_arrays(x, given, x, targets=targets)


def test_a_model_of_other_classes_cannot_be_evaluated():
    model = dazoo.fit("coral", task())
    with pytest.raises(DazooError, match=r"the model scores 3 classes, but task .* has 2"):
        dazoo.evaluate(model, task(Y % 2, Y % 2))
    with pytest.raises(DazooError, match="no values"):
        dazoo.evaluate(model, task(Y / 7, Y / 7))


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (5, "single int"),
        (np.array(5), "one label per sample"),
        (torch.tensor(1.0), "one label per sample"),
        ("abcabcabcabc", "single str"),
        ({i: 0 for i in range(12)}, "single dict"),
        (set(range(12)), "single set"),
        (np.eye(3)[Y], "argmax"),
        (np.eye(3)[Y].tolist(), "argmax"),
        ([[0, 1]] * 11 + [[2]], "entry 0 is a list of 2"),
        (Y + 1j, "complex"),
        (np.datetime64("2020-01-01") + Y, "dates"),
        (list(pd.to_datetime(["2020-01-01"] * 12)), "hold a Timestamp in row 0"),
        ([object()] * 12, "hold a object in row 0"),
        ([b"\xff\xfe"] * 12, "no UTF-8 text"),
        (np.where(Y > 1, np.inf, Y), "infinite values in 4 of 12 rows, first in row 2"),
        (np.where(Y > 1, -np.inf, Y / 7), "infinite"),
        (np.zeros((12, 2, 2)), r"\(12, 2, 2\)"),
        (Y[:5], "12 samples but 5 labels"),
    ],
)
def test_things_that_are_no_labels_get_a_clear_answer(y: Any, says: str):
    with pytest.raises(DazooError, match=says):
        task(y)
    with pytest.raises(DazooError, match=says):
        task(Y, y)


# -- missing labels -----------------------------------------------------------------------------------------------


def holed(gap: Any, rows: tuple[int, ...] = (3, 7)) -> np.ndarray:
    y = NAMES.astype(object)
    for row in rows:
        y[row] = gap
    return y


@pytest.mark.parametrize("gap", GAPS, ids=repr)
def test_a_missing_label_is_no_class(gap: Any):
    with pytest.raises(DazooError, match=r"2 of 12 labels are missing values.*first in row 3.*label or remove"):
        task(holed(gap))
    made = task(NAMES, holed(gap))
    assert made.classes == ("a", "b", "c") and made.few_rows.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 11]
    assert task(NAMES, [gap] * 12).target.y is None


def test_missing_numbers_masks_and_stated_values():
    rows = [i for i in range(12) if i not in (3, 7)]
    gone = np.isin(np.arange(12), (3, 7))
    ways = [
        np.where(gone, np.nan, Y), torch.where(torch.from_numpy(gone), torch.nan, torch.from_numpy(Y)),
        np.ma.masked_array(Y, gone), pd.Series(Y).mask(gone), pd.Series(Y).astype("Int64").mask(gone),
        [None if g else int(v) for g, v in zip(gone, Y)],
    ]  # fmt: skip
    for yt in ways:
        made = task(Y, yt)
        assert made.few_rows.tolist() == rows and made.target.y[made.few_rows].tolist() == Y[rows].tolist()
    for value, yt in [
        (-1, np.where(gone, -1, Y)),
        ("?", np.where(gone, "?", NAMES)),
        ([-1, 255], np.where(gone, 255, Y)),
    ]:
        made = task(Y if yt.dtype.kind == "i" else NAMES, yt, unlabelled=value)
        assert made.few_rows.tolist() == rows and made.n_classes == 3
    values = task(Y / 7, np.where(gone, -99, Y / 7), unlabelled=-99)
    assert values.regression and values.few_rows.tolist() == rows
    for setting in ("unsupervised", "few_labels", "oracle"):
        with pytest.raises(DazooError, match="unlabelled="):
            task(Y, np.where(gone, -1, Y), setting=setting)
    with pytest.raises(DazooError, match="the labels of source1: 2 of 12 labels"):
        Task.from_arrays([X, X], [NAMES, holed(None)], X)


# -- a target that was labelled in part ---------------------------------------------------------------------------


def test_few_rows_are_exactly_those_that_were_labelled():
    rows, labels = [10, 2, 5], NAMES[[10, 2, 5]]
    mask = np.isin(np.arange(12), rows)
    made = [
        task(NAMES, few=(rows, labels)),
        task(NAMES, few=(torch.tensor(rows), list(labels))),
        task(NAMES, few=(mask, NAMES[mask])),
        task(NAMES, few=(mask, NAMES)),
        task(NAMES, np.where(mask, NAMES, None), setting="few_labels"),
    ]
    for one in made:
        seen = one.seen()
        assert one.setting is FEW_LABELS and seen.few.y.tolist() == Y[[2, 5, 10]].tolist()
        assert torch.equal(seen.few.x, one.target.x[[2, 5, 10]]) and len(seen.target) == 9
        assert one.hidden().y is None and torch.equal(one.hidden().x, seen.target.x)
        assert torch.equal(one.change(seed=7, few_per_class=1).seen().few.x, seen.few.x)
    assert task(NAMES, few=([0], ["c"])).classes == ("a", "b", "c")


@pytest.mark.parametrize("setting", [UNSUPERVISED, MULTI_SOURCE, FEW_LABELS, ORACLE])
def test_rows_given_as_few_are_tested_on_in_no_setting(setting: Setting):
    made = task(Y, Y, few=([0, 1, 2, 3], Y[:4]), setting=setting, target_holdout=0.5)
    shown = {tuple(r) for r in made.target.x[:4].tolist()}
    tested = {tuple(r) for r in made.hidden().x.tolist()}
    assert tested and not shown & tested and len(made.hidden().y) == len(tested)
    if made.seen().few is not None:
        assert not {tuple(r) for r in made.seen().few.x.tolist()} & tested


def test_only_rows_with_a_label_are_scored():
    part = np.where(np.arange(12) < 8, Y.astype(float), np.nan)
    hidden = task(Y, part).hidden()
    assert hidden.y.tolist() == Y[:8].tolist() and torch.equal(hidden.x, task().target.x[:8])
    assert len(task(Y, part).seen().target) == 12  # the others are still target samples
    oracle = task(Y, part, setting=ORACLE)
    few, tested = oracle.seen().few, oracle.hidden()
    assert len(few) + len(tested.y) == 8 and len(oracle.seen().target) == 12 - len(few)
    held = Task.from_arrays(X, Y, X + 1, xt_test=X + 2, yt_test=part)
    assert held.hidden().y.tolist() == Y[:8].tolist() and torch.equal(held.hidden().x, torch.from_numpy(X[:8] + 2))


def test_a_target_labelled_as_a_whole_is_still_there_to_learn_from():
    made = Task.from_arrays(X, Y, X + 1, few=(range(12), Y), xt_test=X + 2, yt_test=Y)
    assert len(made.seen().few) == len(made.seen().target) == len(made.hidden().y) == 12
    alone = task(few=(np.ones(12, bool), Y))
    assert len(alone.seen().few) == len(alone.seen().target) == 12 and alone.hidden().y is None
    assert alone.change(setting=UNSUPERVISED).hidden().y is None


@pytest.mark.parametrize(
    ("few", "says"),
    [
        (([0, 12], [0, 1]), "the target has the rows 0 to 11"),
        (([-1], [0]), "the target has the rows 0 to 11"),
        (([0, 0], [0, 1]), "twice"),
        (([0, 1], [0]), "2 target samples but 1 labels"),
        (([], []), "no target sample"),
        ((np.zeros(12, bool), []), "no target sample"),
        ((np.ones(5, bool), Y[:5]), "the target has 12 samples"),
        (([0.5], [0]), "whole numbers or a mask"),
        (([0, 1], [0, None]), "1 of 2 labels are missing"),
        ((Y,), "pair"),
        (Y, "pair"),
        (([0, 1], [[0, 1], [1, 0]]), "argmax"),
        (([0], [0.5]), "one kind"),
    ],
)
def test_bad_few_labels_are_refused(few: Any, says: str):
    with pytest.raises(DazooError, match=says):
        task(few=few)


def test_few_labels_may_not_contradict_the_others():
    with pytest.raises(DazooError, match="1 target samples different labels, first row 1: '2' and '1'"):
        task(Y, Y, few=([0, 1], [0, 2]))
    assert task(Y, Y.astype(str), few=([0, 1], [0.0, 1.0])).n_classes == 3


def test_fingerprints_know_which_rows_are_labelled():
    made = [task(yt=yt) for yt in (None, Y, np.where(Y == 2, np.nan, Y), np.where(np.arange(12) < 3, Y, np.nan))]
    made += [task(yt=yt, few=([row], [0])) for yt in (None, Y) for row in (0, 3)]
    assert len({m.target.fingerprint for m in made}) == len(made)


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("method", ["easyadapt", "regular_transfer", "balanced_weighting", "coral", "fine_tune"])
def test_few_label_methods_learn_from_the_rows_given(method: str, regression: bool):
    """All labels of the target say the opposite of the source: only who sees them predicts them."""
    rng = np.random.default_rng(1)
    x, xt = rng.standard_normal((80, 2)), rng.standard_normal((80, 2))
    y, yt = (x[:, 0] > 0).astype(int), (xt[:, 0] < 0).astype(int)
    if regression:
        y, yt = x[:, 0].astype(float), -xt[:, 0].astype(float)
    rows = np.arange(0, 80, 2)
    made = Task.from_arrays(x, y, xt, yt, few=(rows, yt[rows]))
    if regression and "values" not in dazoo.api.METHODS.get(method).targets:
        return
    seen = made.seen()
    assert len(seen.few) == 40 and len(made.hidden().y) == 40
    model = dazoo.fit(method, made, recipe=BRIEF)
    assert np.isfinite(list(dazoo.evaluate(model, made).values())).all()


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [UNSUPERVISED, MULTI_SOURCE, FEW_LABELS, ORACLE])
def test_a_setting_as_text_is_the_setting(setting: Setting):
    for made in (task(Y, Y, setting=setting.value), task(Y, Y).change(setting=setting.value)):
        assert made.setting is setting and made.seen().setting is setting
        other = task(Y, Y, setting=setting).seen()
        assert (made.seen().few is None) == (other.few is None)
        assert other.few is None or torch.equal(made.seen().few.x, other.few.x)
    assert dataclasses.replace(made.seen(), setting=setting.value).setting is setting


@pytest.mark.parametrize("setting", ["banana", "few_label", "", None, 3, "ORACLE "])
def test_an_unknown_setting_is_refused_with_the_nearest_names(setting: Any):
    with pytest.raises(UnknownName, match="few_labels"):
        task(Y, Y, setting=setting)
    with pytest.raises(UnknownName, match="unknown setting"):
        dataclasses.replace(task().seen(), setting=setting)


def test_methods_may_write_their_settings_as_text(monkeypatch: pytest.MonkeyPatch):
    from dazoo.methods.base import METHODS, register
    from dazoo.methods.subspace.coral import CORAL

    added: dict[str, Any] = {}
    monkeypatch.setattr(METHODS, "add", added.__setitem__)

    def mine(*settings: str) -> type:
        return register(type("Mine", (CORAL,), {"__doc__": "Of somebody's own.", "settings": frozenset(settings)}))

    assert all(isinstance(s, Setting) for s in mine("few_labels", "oracle").settings) and added
    with pytest.raises(UnknownName, match="few_labels"):
        mine("few")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"few_per_class": "3"}, "few_per_class must be a whole number"),
        ({"few_per_class": 2.5}, "few_per_class must be a whole number"),
        ({"few_per_class": 0}, "at least 1"),
        ({"seed": -1}, "seed must be a whole number, at least 0"),
        ({"source_holdout": "0.2"}, "source_holdout must lie"),
        ({"target_holdout": float("nan")}, "target_holdout must lie"),
        ({"few_per_clas": 3}, "did you mean 'few_per_class'"),
        ({"settings": "oracle"}, "did you mean 'setting'"),
    ],
)
def test_other_fields_of_a_task_are_checked_at_the_door_too(options: dict[str, Any], says: str):
    for make in (lambda: task(Y, Y, **options), lambda: task(Y, Y).change(**options)):
        with pytest.raises(DazooError, match=says):
            make()
    assert task(Y, Y, few_per_class=np.int64(2), seed=np.int64(1), source_holdout=np.float32(0.5)).seed == 1


# -- predictions --------------------------------------------------------------------------------------------------


def test_predictions_of_values_have_no_labels_and_those_of_classes_no_values():
    values, classes = Prediction(torch.zeros(4, 1)), Prediction(torch.zeros(4, 3))
    assert values.values.shape == (4,) and classes.labels.shape == (4,) and classes.probs.shape == (4, 3)
    for out, names in ((values, ("labels", "probs")), (classes, ("values",))):
        for name in names:
            with pytest.raises(DazooError, match=f"no {name}"):
                getattr(out, name)
    assert Prediction(torch.zeros(4, 1), regression=False).labels.tolist() == [0] * 4


@pytest.mark.parametrize("method", ["coral", "dann", "source_only", "kmm"])
def test_models_of_values_say_so(method: str):
    out = dazoo.fit(method, task(X[:, 0] * 1.3), recipe=BRIEF).predict(X)
    assert out.values.shape == (12,)
    for name in ("labels", "probs"):
        with pytest.raises(DazooError, match="regression"):
            getattr(out, name)
    with pytest.raises(DazooError, match="no values"):
        _ = dazoo.fit(method, task(), recipe=BRIEF).predict(X).values


def test_reading_many_values_names_none_of_them():
    found = read(np.linspace(0, 1, 100_000), "labels")
    assert found.fractional and "names" not in vars(found)
