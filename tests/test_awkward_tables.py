"""Tables as they come: labels among the features, columns that change, cells that do not read, many rows."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
import dazoo.encoders.table as encoder
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.leaks import copies_of_labels
from dazoo.data.raw import Table
from dazoo.data.registry import load_task
from dazoo.data.tables import read_table
from dazoo.encoders._cells import dates_of, day_first, numbers_of
from dazoo.encoders._roles import role_in, role_of
from dazoo.encoders.base import create_encoder
from dazoo.encoders.encode import encoded

N = 40


def frame(seed: int = 0, n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    gap = np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n))
    return pd.DataFrame({"a": rng.normal(size=n), "b": gap, "c": rng.choice(["u", "v"], n)})


def fitted(source: pd.DataFrame, target: pd.DataFrame):
    return create_encoder("table").fit(Table(source), Table(target))


def quietly(method: str, task: dazoo.Task, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dazoo.fit(method, task, **options)


def labels(seed: int = 0) -> pd.Series:
    return pd.Series(np.random.default_rng(seed + 10).permutation(["ill", "well"] * (N // 2)), name="state")


# -- labels among the features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["both", "source", "target"])
@pytest.mark.parametrize("form", ["series", "frame"])
def test_a_column_called_like_the_labels_is_never_read(where, form):
    y = labels() if form == "series" else labels().to_frame()
    holds = {"source": frame().assign(state=labels().to_numpy()), "target": frame(1).assign(state="well")}
    source, target = holds["source"], holds["target"]
    source, target = (source if where != "target" else frame(), target if where != "source" else frame(1))
    with pytest.warns(DazooWarning, match="'state' is called like the labels and is no feature"):
        task = dazoo.Task.from_arrays(source, y, target)
    assert task.target.x.names == task.sources[0].x.names == ("a", "b", "c") and task.target.y is None


def test_a_column_called_like_the_labels_is_no_feature_of_vectors_either():
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 2)), columns=["a", "state"])
    with pytest.warns(DazooWarning, match="no feature"):
        task = dazoo.Task.from_arrays(numbers, numbers["state"], {"x": numbers, "y": numbers})
    assert tuple(task.target.x.shape) == (2 * N, 1)
    with pytest.raises(DazooError, match="has no column but 'state'"):
        dazoo.Task.from_arrays(numbers[["state"]], numbers["state"], numbers[["state"]])


def test_a_column_that_lends_its_name_to_labels_made_from_it_is_a_feature():
    task = dazoo.Task.from_arrays(frame(), frame()["a"] > 0, frame(1), frame(1)["a"] > 0)
    assert task.target.x.names == ("a", "b", "c")
    renamed = frame().assign(c=lambda f: f["c"].map({"u": "no", "v": "yes"}))
    with pytest.warns(DazooWarning, match="'c' is called like the labels"):
        task = dazoo.Task.from_arrays(renamed, frame()["c"], [frame(1), frame(2)])
    assert task.target.x.names == ("a", "b")


def test_labels_of_the_target_file_change_nothing(tmp_path: Path):
    models = []
    for seed in (0, 1):
        place = tmp_path / f"{seed}.csv"
        hidden = np.random.default_rng(seed).permutation(["ill", "well"] * (N // 2))
        parts = [frame().assign(domain="s", label=labels().to_numpy()), frame(1).assign(domain="t", label=hidden)]
        pd.concat(parts).to_csv(place, index=False)
        task = load_task("table/s->t", path=str(place))
        models.append(quietly("coral", task).predict(frame(1)))
    assert "label" not in task.target.x.names and torch.equal(models[0].scores, models[1].scores)


def test_a_column_that_tells_the_label_is_pointed_out():
    source = frame().assign(code=labels().map({"ill": 7.5, "well": 3.25}).to_numpy())
    task = dazoo.Task.from_arrays(source, labels().to_numpy(), source)
    assert copies_of_labels(task.sources) == [
        "column 'code' alone tells the label of every row of 'source': leave it out if it was made from the label, "
        "or is known only after it"
    ]
    assert any("'code' alone tells the label" in note for note in dazoo.diagnose(task).notes)
    assert "'code' alone tells the label" in " ".join(
        quietly("source_only", task, classifier="logistic").report.warnings
    )


def test_spellings_of_labels_in_a_table_are_pointed_out(tmp_path: Path):
    place = tmp_path / "t.csv"
    y = [" healthy", "Healthy ", "ill", "ill"] * (N // 4)
    frame().assign(domain=["s"] * (N // 2) + ["t"] * (N // 2), label=y).to_csv(place, index=False)
    with pytest.warns(DazooWarning, match="differ by capitals or spaces"):
        load_task("table/s->t", path=str(place), classes="union")


# -- columns ----------------------------------------------------------------------------------------------------------


def test_columns_of_one_name_are_refused(tmp_path: Path):
    twice = pd.DataFrame([[1.0, "u"]] * 4, columns=["a", "a"])
    for kind in (None, "table"):
        with pytest.raises(DazooError, match="several columns called 'a'"):
            dazoo.Task.from_arrays(twice, [0, 1, 0, 1], twice, kind=kind)
    place = tmp_path / "t.csv"
    twice.to_csv(place, index=False)
    with pytest.raises(DazooError, match="several columns called 'a'"):
        read_table(place)


@pytest.mark.parametrize(
    ("name", "source", "target", "said"),
    [
        ("patient_id", [3, 99, 7, 45, 12, 8, 31, 77, 64, 50, 2], [1, 5, 9], "is called like an identifier"),
        ("Unnamed: 0", [3, 99, 7, 45, 12, 8, 31, 77, 64, 50, 2], [1, 5, 9], "is called like an identifier"),
        ("caseID", [f"k{i % 9}{i}" for i in range(20)] + ["k00"], ["k1", "k2"], "identifier"),
        ("n", list(range(0, 40, 2)), list(range(1, 40, 2)), "counts the rows"),
        ("site", ["a"] * 11, ["b"] * 11, "no level in common"),
        ("z", [1 + 2j], [2j], "complex numbers"),
    ],
)
def test_columns_that_tell_rows_or_domains_apart_are_left_out(name, source, target, said):
    role, why = role_in(pd.Series(source, name=name), pd.Series(target, name=name))
    assert role == "ignored" and said in why


@pytest.mark.parametrize(
    ("name", "values"),
    [("id", [0.5 * i for i in range(30)]), ("site_id", [1, 2, 3] * 10), ("paid", [17, 3, 5, 88, 9, 4, 1, 2, 6, 7, 31])],
)
def test_measurements_and_levels_are_no_identifiers(name, values):
    assert role_of(pd.Series(values, name=name))[0] != "ignored"


def test_a_column_that_changes_its_type_loses_nothing_that_can_be_read():
    source, target = frame().assign(c=np.arange(N) / 7), frame(1).assign(c=[f"{i},5" for i in range(N)])
    made = fitted(source, target)
    assert made.roles["c"] == "number" and "decimal comma" in " ".join(made.said())
    c = made.outputs().index("c")
    assert (
        torch.equal(made(Table(target))[:, c].argsort(), torch.arange(N))
        and made(Table(target))[:, c].unique().numel() == N
    )
    with pytest.warns(DazooWarning, match="column 'c' holds 1 cells that are no finite numbers, first 'five'"):
        later = made(Table(frame(2).assign(c=["5"] * (N - 1) + ["five"])))
    assert (later[:-1, c] == later[0, c]).all() and later[-1, c] == 0.0


def test_empty_columns_and_tables_are_said():
    made = fitted(frame().assign(e=None), frame(1).assign(e=np.nan))
    assert made.roles["e"] == "ignored" and "'e' is empty and left out" in " ".join(made.said())
    with pytest.raises(DazooError, match="no column that varies"):
        fitted(pd.DataFrame({"e": [None] * 4}), pd.DataFrame({"e": [None] * 4}))


# -- cells ------------------------------------------------------------------------------------------------------------


def test_words_for_gaps_and_stray_words_do_not_make_levels_of_numbers():
    source = frame().assign(a=["?"] * 25 + [f"{i}.5" for i in range(15)])
    target = frame(1).assign(a=[f"{i}.5" for i in range(N - 1)] + ["broken"])
    made = fitted(source, target)
    said = " ".join(made.said())
    assert made.roles["a"] == "number" and "'a' holds 1 cells that are no finite numbers, first 'broken'" in said
    x = made(Table(target))[:, made.outputs().index("a")]
    assert x[:-1].unique().numel() == N - 1 and x[-1] == 0.0


def test_infinite_and_huge_numbers_stay_finite_and_in_order():
    big = [-1e308, -1e300, 0.0, 1e300, 1e308, 10.0**20]
    source = frame(n=60).assign(a=[*big, *np.zeros(14)] * 3, b=[np.inf, *range(59)], d=[10**30 + i for i in range(60)])
    made = fitted(source, source)
    x = made(Table(source))
    assert torch.isfinite(x).all() and x.abs().max() <= 10
    assert "'b' holds 2 cells that are no finite numbers, first 'inf'" in " ".join(made.said())
    assert (x[:6, 0][torch.tensor([0, 1, 2, 5, 3, 4])].diff() >= 0).all()


def test_dates_of_any_year_and_order_read_alike_alone_and_together():
    texts = pd.Series(["31.12.2023", "01.02.2024", "03.04.9999", "0000-00-00", "2024-02-29 10:00"])
    assert day_first(texts)
    read = dates_of(texts, True)
    assert [(d.day, d.month) for d in read[:3]] == [(31, 12), (1, 2), (3, 4)] and pd.isna(read[3])
    alone = [numbers_of(texts[i : i + 1], True, True)[0] for i in range(5)]
    assert np.array_equal(alone, numbers_of(texts, True, True), equal_nan=True)
    assert not day_first(pd.Series(["12/31/2023", "02/01/2024"])) and day_first(pd.Series(["31/12/2023", "02/01/2024"]))
    spread = [f"{1 + i % 28:02}.{1 + i % 12:02}.{1700 + 9 * i}" for i in range(N)]
    made = fitted(frame().assign(d=spread), frame(1).assign(d=[*spread[:-1], "31.02.2024"]))
    said = " ".join(made.said())
    assert made.roles["d"] == "date" and "the day first" in said and "1 cells that are no dates, first '31.02" in said


@pytest.mark.parametrize("first", [False, True])
def test_dates_of_two_forms_are_not_read_the_wrong_way_round(first: bool) -> None:
    """A model that was fitted to one form, and later cells of another."""
    read = dates_of(pd.Series(["2025-08-07", "2025/8/07 10:00", "07.08.2025", "07/25/2025", "25/07/2025"]), first)
    assert [(d.day, d.month) for d in read[:3]] == [(7, 8)] * 3
    assert pd.isna(read[3]) == first and pd.isna(read[4]) != first  # a gap, which drift points out


@pytest.mark.parametrize("values", [["c1", "c2", "c1"], ["may", "june", "may"], ["ward 1 bed 3", "ward 2 bed 4"]])
def test_levels_that_look_a_little_like_dates_are_levels(values):
    assert role_of(pd.Series(values))[0] == "category"


def test_cells_of_pandas_own_missing_value_and_of_objects_are_no_errors():
    odd = frame().assign(
        a=pd.array([None, *range(N - 1)], dtype="Int64"), b=pd.array([None, *[True, False] * 19, True], dtype="boolean")
    )
    odd["c"] = pd.Series([[1], [2]] * (N // 2))
    made = fitted(odd, odd)
    assert made.roles["b"] == "boolean" and made.roles["c"] == "category" and torch.isfinite(made(Table(odd))).all()


# -- many rows --------------------------------------------------------------------------------------------------------


def test_of_many_rows_a_stated_sample_decides_and_all_are_encoded_in_blocks(monkeypatch):
    source, target = frame(n=500).assign(n=range(500)), frame(1, 300).assign(n=range(300))
    whole = fitted(source, target)
    monkeypatch.setattr(encoder, "BLOCK", 64)
    assert torch.equal(whole(Table(source)), fitted(source, target)(Table(source)))
    monkeypatch.setattr(encoder, "ROWS", 100)
    some = fitted(source, target)
    assert "roles and statistics are those of 200 rows drawn from 800" in some.said()
    assert some.roles == whole.roles and some.roles["n"] == "ignored"
    assert torch.allclose(some(Table(target)), whole(Table(target)), atol=1.0) and len(some(Table(target))) == 300


# -- diagnosis --------------------------------------------------------------------------------------------------------


def test_diagnosis_and_warnings_of_tables():
    y = labels().to_numpy()
    shifted = frame(1).assign(a=lambda f: f["a"] + 6)
    task = dazoo.Task.from_arrays(frame(), y, shifted, labels(1).to_numpy())
    found = dazoo.diagnose(task)
    assert found.dims == encoded(task)[0].target.x.shape[1] and any("columns are read as" in n for n in found.notes)
    assert found.domains.a_distance > 1.0
    model = quietly("gaussian_ratio", task)
    assert "effective sample size below 10%" in " ".join(model.report.warnings)


def test_findings_of_a_suite_of_tables(tmp_path: Path):
    """A column that says everything in the source and nothing in the target: rows below the baseline are told."""
    rng = np.random.default_rng(0)
    parts = []
    for domain in "st":
        y = rng.integers(0, 2, 60)
        tells = y if domain == "s" else np.zeros(60, int)
        parts.append(frame(n=60).assign(c=np.where(tells == 1, "u", "v"), domain=domain, label=y))
    pd.concat(parts).to_csv(tmp_path / "t.csv", index=False)
    suite = {
        "name": "small",
        "dataset": {"name": "table", "path": str(tmp_path / "t.csv")},
        "tasks": ["s->t"],
        "methods": [{"name": "source_only", "solver": "shallow"}],
        "classifier": "trees",
        "seeds": 1,
    }
    (tmp_path / "small.yaml").write_text(json.dumps(suite), encoding="utf-8")
    folder = dazoo.run_suite(tmp_path / "small.yaml", out=tmp_path / "out")
    assert "collapse" in (folder / "leaderboard.md").read_text(encoding="utf-8")
