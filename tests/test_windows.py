"""Windows of long tables: where they lie, what they are called, and what is said of awkward time."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dazoo
from dazoo.core.errors import DazooError, DazooWarning, UnknownName
from dazoo.data.registry import load_domain, load_task

RNG = np.random.default_rng(0)


def long_table(subjects: str = "ab", n: int = 100, at: int = 40) -> pd.DataFrame:
    """Rows of two channels at 10 per second, ``rest`` before row ``at`` of each subject and ``move`` from there on."""
    frames = []
    for i, subject in enumerate(subjects):
        label = np.where(np.arange(n) < at, "rest", "move")
        x = np.where(label == "rest", 0.1, 3.0) * RNG.normal(size=n) + i
        frame = {"time": np.arange(n) / 10, "subject": subject, "label": label, "ax": x, "row": np.arange(n)}
        frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def save(table: pd.DataFrame, folder: Path) -> str:
    place = folder / "long.csv"
    table.to_csv(place, index=False)
    return str(place)


def test_windows_lie_where_length_and_step_say_and_have_the_label_of_most_rows(tmp_path):
    path = save(long_table(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_domain("windows", "a", path=path, length=20, step=15)
    assert found.x.shape == (6, 2, 20) and found.kind == "series" and found.classes == ("move", "rest")
    assert found.x[:, 1, 0].tolist() == [0, 15, 30, 45, 60, 75]
    assert [found.classes[i] for i in found.y] == ["rest", "rest", "move", "move", "move", "move"]
    with pytest.warns(DazooWarning, match="1 windows with two labels were dropped"):
        pure = load_domain("windows", "a", path=path, length=20, step=16, crossing="drop")
    assert pure.x[:, 1, 0].tolist() == [0, 16, 48, 64, 80]
    assert load_domain("windows", "a", path=path, length=50).x.shape == (3, 2, 50)


def test_a_label_moves_no_window(tmp_path):
    table = long_table()
    blank = table.assign(label=table.label.where(table.subject == "a"))
    (tmp_path / "other").mkdir()
    known, hidden = (
        load_task("windows/a->b", path=save(t, f), length=20)
        for t, f in ((table, tmp_path), (blank, tmp_path / "other"))
    )
    assert np.array_equal(known.target.x, hidden.target.x) and hidden.target.y is None
    part = table.assign(label=table.label.where(table.row >= 55))
    found = load_domain("windows", "b", path=save(part, tmp_path), length=20, step=20)
    assert found.known.tolist() == [False, False, False, True, True] and found.y[3:].tolist() == [0, 0]


def test_five_lines_from_a_table_to_labels(tmp_path):
    path = save(long_table(n=200, at=100), tmp_path)
    task = load_task("windows/a->b", path=path, length=20, channels=["ax"])
    model = dazoo.fit("coral", task)
    assert model.encoding.name == "statistics" and dazoo.evaluate(model, task)["macro_f1"] > 0.9


def test_rows_out_of_order_gaps_and_uneven_time_are_said(tmp_path):
    table = long_table("a", 100)
    mixed = table.sample(frac=1, random_state=0)
    with pytest.warns(DazooWarning, match="not in the order of time and were sorted"):
        found = load_domain("windows", "a", path=save(mixed, tmp_path), length=10)
    assert found.x[0, 1].tolist() == list(range(10))
    jumped = table.assign(time=table.time + 60 * (table.row >= 55) + 60 * (table.row >= 60))
    with pytest.warns(DazooWarning, match=r"2 jumps of time.*; 1 of 3 runs are shorter"):
        found = load_domain("windows", "a", path=save(jumped, tmp_path), length=10, step=10)
    assert found.x[:, 1, 0].tolist() == [0, 10, 20, 30, 40, 60, 70, 80, 90]
    with pytest.warns(DazooWarning, match="uneven"):
        load_domain(
            "windows", "a", path=save(table.assign(time=np.cumsum(RNG.exponential(1, 100))), tmp_path), length=10
        )
    twice = table.assign(time=np.floor(table.row / 1.2))
    with pytest.warns(DazooWarning, match="have the time of the row before"):
        load_domain("windows", "a", path=save(twice, tmp_path), length=10)
    dated = table.assign(time=pd.Timestamp("2024-03-31") + pd.to_timedelta(table.time, unit="s"))
    assert len(load_domain("windows", "a", path=save(dated, tmp_path), length=10)) == 19


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"length": 101}, r"'a' has no 101 rows in a row, its longest run has 100; take a smaller length"),
        ({}, {"length": 90, "crossing": "drop"}, "every window of 'a' holds two labels"),
        ({"time": 1.0}, {}, "share their time with another"),
        ({"time": "soon"}, {}, "rows have no time in 'time' that can be read"),
        ({"ax": np.nan}, {}, r"missing or infinite in \['ax'\]"),
        ({"label": 0.5}, {}, "holds fractions, and windows have classes"),
        ({"subject": None}, {}, "no value in the subject column"),
        ({}, {"channels": ["subject"]}, "holds words"),
        ({}, {"length": 1}, "length must be a whole number, at least 2"),
        ({}, {"crossing": "keep"}, "majority, drop"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(tmp_path, change, options, said):
    with pytest.raises(DazooError, match=said):
        load_domain("windows", "a", path=save(long_table().assign(**change), tmp_path), **{"length": 10, **options})


def test_unknown_columns_name_the_nearest(tmp_path):
    path = save(long_table(), tmp_path)
    for options in ({"time": "tim"}, {"label": "labl"}, {"subject": "subjct"}, {"channels": ["ay"]}):
        with pytest.raises(UnknownName, match="has no column"):
            load_domain("windows", "a", path=path, **options)


def test_a_subject_of_one_class_is_said_or_has_all_names(tmp_path):
    table = long_table()
    one = table.assign(label=table.label.where(table.subject == "a", "rest"))
    path = save(one, tmp_path)
    with pytest.raises(DazooError, match="class"):
        load_task("windows/a->b", path=path, length=10)
    task = load_task("windows/a->b", path=path, length=10, classes="union", channels=["ax"])
    model = dazoo.fit("sa", task)
    assert task.n_classes == 2 and set(model.predict(task.target.x).names) <= {"move", "rest"}
    with pytest.raises(DazooError, match="class"):
        load_task("windows/b->a", path=path, length=10)
