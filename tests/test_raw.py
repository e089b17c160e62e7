"""Raw samples: what is read as such, and encoders that make numbers of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import dazoo
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.raw import Ragged, Sparse, Table, Texts, joined
from dazoo.data.raw_input import read_raw
from dazoo.data.samples import Schema
from dazoo.encoders.base import ENCODERS, create_encoder, default_for
from dazoo.encoders.encode import chosen, encoded

GOOD = ["a fine book", "great story and a fine end", "loved the story", "what a great book", "fine and great"]
BAD = ["a dull book", "bad story and a dull end", "hated the story", "what a bad book", "dull and bad"]


def examples() -> list:
    frame = pd.DataFrame({"age": [1.0, np.nan, 3.0, 4.0], "site": ["a", "b", None, "a"]})
    return [
        Texts.of(["one", "two words", "", "four"]),
        Ragged.of([np.ones((2, 3)), np.zeros((2, 5)), np.ones((2, 1)), np.full((2, 2), 7)]),
        Sparse(sparse.csr_matrix(np.diag([1.0, 2.0, 0.0, 4.0]))),
        Table(frame),
    ]


@pytest.mark.parametrize("raw", examples(), ids=lambda r: r.kind)
def test_rows_follow_one_protocol(raw):
    assert len(raw) == raw.shape[0] == 4
    rows = torch.tensor([2, 0])
    assert raw[rows].hashes() == [raw.hashes()[2], raw.hashes()[0]]
    assert raw[torch.tensor([True, False, True, False])].hashes() == raw[torch.tensor([0, 2])].hashes()
    assert joined([raw[:1], raw[1:]]).digest() == raw.digest() != raw[rows].digest()
    assert len(set(raw.hashes())) == 4 and raw.nbytes > 0 and len(raw[:0]) == 0
    assert raw.unlike(raw) is None and raw.problem() is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (["a b", "c"], "text"),
        (np.array(["a b", "c"]), "text"),
        (pd.Series(["a b", "c"]), "text"),
        (pd.DataFrame({"x": [1.0, None]}), "table"),
        (pd.DataFrame({"x": [1.0, 2.0], "y": ["u", "v"]}), "table"),
        ([np.zeros((1, 3)), np.zeros((1, 4))], "series"),
        ([[0.0, 1.0], [2.0, 3.0]], None),
        (pd.DataFrame({"x": [1.0, 2.0]}), None),
        (["1.5", "2"], None),
    ],
)
def test_what_is_read_as_raw(given, kind):
    found = read_raw(given, "the samples")
    assert (None if found is None else found.kind) == kind


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        (["a", None], "text", "missing value in row 1"),
        ("a single text", "text", "put one text into a list"),
        (["a", 3], "text", "int"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "text", "2 columns"),
    ],
)
def test_what_is_no_text_is_named(given, kind, said):
    with pytest.raises(DazooError, match=said):
        read_raw(given, "the samples", kind)


def test_texts_from_lists_to_a_saved_model(tmp_path):
    xs, ys = GOOD * 4 + BAD * 4, ["good"] * 20 + ["bad"] * 20
    task = dazoo.Task.from_arrays(xs, ys, GOOD + BAD, ["good"] * 5 + ["bad"] * 5)
    assert task.target.kind == "text" and "text" in repr(task)
    model = dazoo.fit("coral", task)
    assert dazoo.evaluate(model, task)["accuracy"] == 1.0
    assert model.encoding.name == "tfidf" and model.report["settings"]["encoder"]["name"] == "tfidf"
    dazoo.save(model, tmp_path / "model")
    again = dazoo.load(tmp_path / "model")
    new = ["a great and fine thing", "so dull and bad"]
    assert list(again.predict(new).names) == ["good", "bad"]
    assert torch.equal(again.predict(new).scores, model.predict(new).scores)
    with pytest.raises(DazooError, match="text"):
        again.predict(np.zeros((2, 3)))


def test_an_encoder_is_fitted_to_what_the_task_shows_and_to_no_label():
    xs, xt = GOOD * 2 + BAD * 2, ["unseen words alone here", "unseen words again"] * 4
    one = dazoo.Task.from_arrays(xs, [0] * 10 + [1] * 10, xt, [0, 1] * 4)
    other = dazoo.Task.from_arrays(xs, [0, 1] * 10, xt, [1, 0] * 4)
    maps = [encoded(t, {"name": "tfidf", "dims": 0})[1].fitted for t in (one, other)]
    assert maps[0].words == maps[1].words and "unseen" in maps[0].words
    hidden = encoded(one.change(setting="source_free"), {"name": "tfidf", "dims": 0})[1].fitted
    assert "unseen" not in hidden.words
    with pytest.raises(DazooError, match="encode the task first"):
        from dazoo.engine.fit import fit

        fit(dazoo.create_method("coral"), one.seen())


def test_columns_are_found_by_name_and_lacking_ones_are_empty():
    schema = Schema("table", (2,), ("age", "site"))
    with pytest.warns(DazooWarning, match="lacks the columns"):
        found = schema.read(pd.DataFrame({"site": ["a"]}))
    assert found.names == ("age", "site") and found.frame["age"].isna().all()


def test_encoders_are_chosen_by_kind_and_checked():
    assert chosen("auto", "vector") is None and chosen("auto", "text").name == "tfidf"
    assert chosen({"name": "tfidf", "dims": 7}, "text") == create_encoder("tfidf", dims=7)
    with pytest.raises(DazooError, match="reads text samples, not vector samples"):
        chosen("tfidf", "vector")
    with pytest.raises(DazooError, match="unknown encoder 'tfdif'"):
        chosen("tfdif", "text")
    for kind in {k for _, cls in ENCODERS.items() for k in cls.default_for}:
        assert kind in ENCODERS.get(default_for(kind)).takes


def test_classes_that_differ_by_capitals_or_spaces_are_pointed_out():
    x = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.warns(DazooWarning, match="' ill', 'Ill' differ by capitals or spaces"):
        dazoo.Task.from_arrays(x, [" ill", "Ill", "well"] * 2, x)


def test_several_sources_and_targets_of_texts():
    task = dazoo.Task.from_arrays([GOOD + BAD, BAD + GOOD], [[1] * 5 + [0] * 5, [0] * 5 + [1] * 5], GOOD + BAD)
    assert [len(s) for s in task.sources] == [10, 10] and task.seen().n_sources == 2
    model = dazoo.fit("source_only", task, classifier="logistic")
    assert model.predict(GOOD).labels.tolist() == [1] * 5


def test_dense_arrays_said_to_be_sparse_and_single_rows():
    from scipy import sparse as sp

    x = np.random.default_rng(0).integers(0, 2, (40, 30)).astype(float)
    task = dazoo.Task.from_arrays(sp.csr_array(x), [0, 1] * 20, x, kind="sparse")
    model = dazoo.fit("coral", task)
    assert torch.allclose(model.predict(x).scores, model.predict(sp.csr_array(x)).scores)
    with pytest.raises(DazooError, match=r"one sample is a matrix of one row|features"):
        model.predict(sp.csr_array(x)[0])
    with pytest.raises(DazooError, match="dictionary of targets is empty"):
        dazoo.Task.from_arrays(x, [0, 1] * 20, {})
    with pytest.raises(DazooError, match="40 target samples, but target_domain names that of 7"):
        dazoo.Task.from_arrays(x, [0, 1] * 20, x, target_domain=["s"] * 7)


def test_classes_are_compared_by_name_when_a_model_is_tested():
    x = np.repeat([[0.0, 1.0], [5.0, 0.0]], 10, axis=0)
    model = dazoo.fit("source_only", dazoo.Task.from_arrays(x, ["cat"] * 10 + ["dog"] * 10, x), classifier="logistic")
    same = dazoo.Task.from_arrays(x, ["cat"] * 10 + ["dog"] * 10, x, ["cat"] * 10 + ["dog"] * 10)
    assert dazoo.evaluate(model, same)["accuracy"] == 1.0
    other = dazoo.Task.from_arrays(x, ["dog"] * 10 + ["emu"] * 10, x, ["dog"] * 10 + ["emu"] * 10)
    with pytest.raises(DazooError, match=r"fitted on the classes cat, dog, but task .* has dog, emu"):
        dazoo.evaluate(model, other)
