"""Samples and labels of unusual origin: which column is which, what no value is, integers that floats cannot hold."""

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError
from dazoo.data.samples import read, read_all
from dazoo.data.task import Task

N = 12
Y = np.arange(N) % 2
X = np.random.default_rng(0).normal(size=(N, 3)) + 3 * Y[:, None]
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


@pytest.mark.parametrize("first", [X, FRAME, FRAME[["c", "a", "b"]]], ids=["array", "frame", "mixed"])
def test_names_count_from_whichever_part_has_them(first):
    parts = read_all([("source", first), ("other", FRAME[["a", "c", "b"]]), ("target", FRAME[["b", "a", "c"]])])
    names = {schema.names for _, schema in parts}
    assert len(names) == 1
    order = list(names.pop())
    assert all(np.array_equal(x.numpy(), FRAME[order].to_numpy()) for x, _ in parts[1:])
    assert np.array_equal(parts[0][0].numpy(), X if first is X else FRAME[order].to_numpy())


def test_a_model_fitted_on_an_array_and_a_frame_finds_the_columns():
    model = dazoo.fit("coral", Task.from_arrays(X, Y, FRAME), transform=None)
    assert torch.equal(model.predict(FRAME).scores, model.predict(FRAME[["c", "b", "a"]]).scores)


@pytest.mark.parametrize("first", [X, pd.DataFrame(X), pd.DataFrame(X)[[2, 0, 1]]], ids=["array", "frame", "mixed"])
def test_columns_that_pandas_numbered_keep_their_numbers(first):
    (found, _), (other, schema) = read_all([("source", first), ("target", pd.DataFrame(X)[[1, 2, 0]])])
    assert np.array_equal(found.numpy(), X) and np.array_equal(other.numpy(), X)
    assert schema.names == ()
    assert np.array_equal(read(FRAME, "it", like=schema)[0].numpy(), X)  # named later: by position


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (FRAME.to_dict("records"), "pandas.DataFrame"),
        ([{1, 2}, {3}], "no numbers"),
        ([[1, [2]], [1, 2]], "different sizes"),
        (np.array([[1, 2], [1]], dtype=object), "different sizes"),
        (torch.zeros(2, 3, device="meta"), "without values"),
        ([torch.zeros(3, device="meta")] * 2, "without values"),
    ],
    ids=["dicts", "sets", "nested", "ragged", "meta", "list of meta"],
)
def test_what_holds_no_numbers_is_named(x, says):
    with pytest.raises(DazooError, match=says):
        read(x, "it")


@pytest.mark.parametrize(
    "y", [torch.zeros(N, device="meta"), [torch.zeros((), device="meta")] * N], ids=["tensor", "list"]
)
def test_labels_without_values_are_refused(y):
    with pytest.raises(DazooError, match="without values"):
        Task.from_arrays(X, y, X)


@pytest.mark.parametrize("rows", [[[1], [2, 3]], torch.zeros(2, device="meta"), "ab", {0: 1}], ids=str)
def test_rows_in_few_that_are_no_rows_are_refused(rows):
    with pytest.raises(DazooError, match="few"):
        Task.from_arrays(X, Y, X, few=(rows, [0, 1]))


def test_integers_beyond_floats_stay_themselves():
    task = Task.from_arrays(X, [2**63 + 1, -1] * (N // 2), X)
    assert task.classes == ("-1", str(2**63 + 1))
    big = 2**60
    task = Task.from_arrays(X, Y + big, X, [big + 2, *(Y + big)[1:]], unlabelled=big + 2)
    assert task.classes == (str(big), str(big + 1)) and int(task.target.known.sum()) == N - 1


@pytest.mark.parametrize("token", [np.array([-1]), np.int64(-1), torch.tensor(-1), -1.0, "-1", "-1.0"], ids=repr)
def test_the_token_for_no_label_in_any_form(token):
    task = Task.from_arrays(X, Y, X, np.where(np.arange(N) < 3, -1, Y), unlabelled=token)
    assert task.classes == ("0", "1") and task.target.known[:4].tolist() == [False, False, False, True]


def test_floats_too_large_for_fractions_are_values():
    task = Task.from_arrays(X, X.sum(1) * 1e20, X)
    assert task.regression and torch.equal(task.sources[0].y, torch.from_numpy(X.sum(1) * 1e20))
    assert Task.from_arrays(X, Y * 1e6, X).classes == ("0", "1000000")
