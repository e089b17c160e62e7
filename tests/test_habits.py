"""What people give in other forms than the page shows is taken, or a sentence says what is meant; nothing is silent."""

from __future__ import annotations

import socket
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import dazoo
from dazoo import DazooError, DazooWarning, Task
from dazoo.core.errors import UnknownName
from dazoo.data.raw import Ragged
from dazoo.encoders.base import create_encoder
from dazoo.methods.base import create_method
from dazoo.nets import hub

RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = RNG.normal(size=(40, 4)) + 2 * Y[:, None]


@pytest.mark.parametrize("option", [{"budget": 0.1}, {"ask_rounds": 2}, {"batch": 8}, {"order": "shuffled"}])
def test_options_without_a_part_are_pointed_out(option: dict[str, Any]) -> None:
    with pytest.warns(DazooWarning, match=f"{next(iter(option))}=.*plays no part in the setting 'unsupervised'"):
        Task.from_arrays(X, Y, X, **option)
    setting = "test_time" if {"batch", "order"} & set(option) else "active"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Task.from_arrays(X, Y, X, Y, setting=setting, **option)


def test_fields_of_tasks_are_no_hyper_parameters() -> None:
    task = Task.from_arrays(X, Y, X)
    with pytest.raises(DazooError, match=r"budget is a field of tasks, not of 'coral': task.change\(budget=0.1\)"):
        dazoo.fit("coral", task, budget=0.1)
    with pytest.raises(DazooError, match=r"dazoo.with_prior\(task, prior\)"):
        Task.from_arrays(X, Y, X, Y, prior="dirichlet")
    moved = dazoo.with_prior(Task.from_arrays(X, Y, X, Y), {"kind": "given", "shares": [0.25, 0.75]})
    counts = np.bincount(moved.target.y)
    assert moved.setting.name == "label_shift" and abs(counts[0] / counts.sum() - 0.25) < 0.02
    with pytest.raises(DazooError, match=r"sum to 1\.5, not to 1"):
        dazoo.with_prior(Task.from_arrays(X, Y, X, Y), {"kind": "given", "shares": [0.75, 0.75]})


def test_a_named_classifier_asks_for_vectors() -> None:
    """Of a baseline that may be trained or not: series become statistics then."""
    series = RNG.normal(size=(20, 2, 9))
    model = dazoo.fit("source_only", Task.from_arrays(series, Y[:20], series), classifier="logistic", transform=None)
    assert model.encoding is not None and model.encoding.name == "statistics"


def test_a_method_that_was_made_stands_for_its_name() -> None:
    task = Task.from_arrays(X, Y, X)
    one = dazoo.fit(create_method("coral", reg=0.5), task, classifier="logistic")
    two = dazoo.fit("coral", task, classifier="logistic", reg=0.5)
    assert (one.predict(X).scores == two.predict(X).scores).all() and one.report.settings == two.report.settings
    with pytest.raises(DazooError, match="give hyper-parameters to the method"):
        dazoo.fit(create_method("coral"), task, reg=0.5)


def test_few_labels_of_a_class_that_no_source_has() -> None:
    with pytest.warns(DazooWarning, match=r"as '7' \(2\), of which no source has a sample"):
        Task.from_arrays(X, Y, X, few=([0, 1, 2], [0, 7, 7]))


def test_sources_by_name() -> None:
    task = Task.from_arrays({"mill": X, "yard": X + 1}, {"yard": Y, "mill": 1 - Y}, X)
    assert [s.name for s in task.sources] == ["mill", "yard"]
    assert (task.sources[1].y.numpy() == Y).all() and (task.sources[0].y.numpy() == 1 - Y).all()
    with pytest.raises(DazooError, match="their labels are one too"):
        Task.from_arrays({"mill": X}, Y, X)
    with pytest.raises(DazooError, match="sources need different names"):
        Task.from_arrays({"a+b": X}, {"a+b": Y}, X)


def test_arrow_tables_are_frames() -> None:
    table = pa.table({"a": X[:, 0], "b": ["x", None] * 20})
    task = Task.from_arrays(table, pa.array(Y), table)
    assert task.target.kind == "table" and task.target.x.names == ("a", "b")
    numbers = Task.from_arrays(table.select(["a"]), pa.chunked_array([pa.array(Y)]), table.select(["a"]))
    assert numbers.target.kind == "vector" and (numbers.sources[0].y.numpy() == Y).all()


def test_kinds_and_generators_get_advice() -> None:
    with pytest.raises(UnknownName, match=r"no kind of samples 'texts': did you mean 'text'"):
        Task.from_arrays(["a b"] * 40, Y, ["a"], kind="texts")
    with pytest.raises(UnknownName, match=r"'images'.*'image'"):
        Task.from_arrays(X, Y, X, kind="images")
    with pytest.raises(DazooError, match=r"labels of source are a generator.*list\(\.\.\.\)"):
        Task.from_arrays(X, (y for y in Y), X)
    with pytest.raises(DazooError, match="not generator; make a list"):
        Task.from_arrays((x for x in X), Y, X)


def test_a_role_that_no_cell_has() -> None:
    frame = pd.DataFrame({"word": ["oak", "yew"] * 20, "size": X[:, 0], "same": [1.0] * 40})
    task = Task.from_arrays(frame, Y, frame)
    encoder = create_encoder("table", roles={"word": "number", "same": "number"})
    said = encoder.fit(task.sources[0].x, task.target.x).said()
    assert "column 'word' is to be read as number, but no cell is a number (first 'oak')" in " ".join(said)
    assert "column 'same' does not vary and is left out" in said


def test_recordings_too_short_to_say_anything() -> None:
    waves = [RNG.normal(size=900 if i else 50) for i in range(6)]
    rows = Ragged.of(waves, "audio", rate=8000)
    said = create_encoder("log_mel").fit(rows, rows.take(np.arange(0))).said()
    assert any("1 of 6 recordings are shorter than 10 ms at 8000 steps per second" in text for text in said)


def test_a_hub_that_is_not_there_costs_no_minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Missing packages, offline machines and unreachable hubs are found before a library waits for them."""
    from huggingface_hub import constants

    monkeypatch.setattr(hub.urllib.request, "getproxies", dict)
    asked: list[Any] = []

    def refuse(address: Any, timeout: float) -> Any:
        asked.append((address, timeout))
        raise OSError("unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(DazooError, match=r"the tokenizer cannot be loaded: it is no folder.*cannot be reached"):
        hub.check_there("nobody/nothing-of-this-name", "the tokenizer", ())
    assert asked and asked[0][1] <= 5
    with pytest.raises(DazooError, match="needs no_such_package: pip install no_such_package"):
        hub.check_there(str(tmp_path), "it", ("no_such_package",))
    hub.check_there(str(tmp_path), "a folder", ("torch",))
    monkeypatch.setattr(hub.urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    hub.check_there("nobody/nothing-of-this-name", "behind a proxy", ())
    assert len(asked) == 1
