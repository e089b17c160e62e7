"""Tables of mixed types: roles, gaps, levels, what is pointed out, files in other encodings, and boosted trees."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.raw import Table
from dazoo.data.registry import load_task
from dazoo.data.tables import read_table
from dazoo.encoders._roles import role_in, role_of
from dazoo.encoders.base import create_encoder
from dazoo.shallow.classifiers import classifier

RNG = np.random.default_rng(0)
N = 60


def frame(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(50, 10, n)),
            "city": rng.choice(["Rome", "Paris", "Oslo"], n),
            "smokes": rng.choice(["yes", "No"], n),
            "since": pd.date_range("2020-01-01", periods=n, freq="31D").astype(str),
            "price": [f"{v:.1f}".replace(".", ",") for v in rng.normal(5, 1, n)],
            "id": np.arange(n) + 17,
            "note": [f"patient {i} feels rather {'well' if i % 2 else 'ill'} since day {i * 7 % 13}" for i in range(n)],
        }
    )


@pytest.mark.parametrize(
    ("values", "role", "said"),
    [
        ([1.5, None, 3.0], "number", ""),
        ([1, 2, 3, 1, 2], "number", "if they are codes"),
        ([0, 1, 1, 0], "number", ""),
        ([True, False, None], "boolean", ""),
        (["yes", "No", "YES"], "boolean", ""),
        (["a", "b", "a"], "category", ""),
        (["1,5", "2,5"], "number", "decimal comma"),
        (["2024-01-02", "2024-03-04"], "date", "dates as text"),
        (pd.to_datetime(["2024-01-02", "2024-03-04"]), "date", ""),
        ([None, None], "ignored", "is empty"),
        ([7, 7, 7], "ignored", "same value"),
        (range(5, 30), "ignored", "identifier"),
        ([f"id{i}" for i in range(30)], "ignored", "identifier"),
        ([f"words that make a text number {i}" for i in range(30)], "text", ""),
    ],
)
def test_roles_of_columns(values, role, said):
    found = role_of(pd.Series(values))
    assert found[0] == role and said in found[1] and bool(said) == bool(found[1])


@pytest.mark.parametrize(
    ("source", "target", "role", "said"),
    [
        (range(5, 30), [3, 9, 4], "ignored", "identifier"),
        ([1.5, 2.5], [None, None], "number", ""),
        (["1", "2"], ["one", "two"], "category", "holds number cells in the source but category cells in the target"),
        (["yes", "no"], [0, 1], "boolean", ""),
        ([1.5, 2.5], [], "number", ""),
    ],
)
def test_roles_of_both_domains(source, target, role, said):
    found = role_in(pd.Series(source), pd.Series(target, dtype=None if len(target) else float))
    assert found[0] == role and said in found[1]


def test_every_role_makes_numbers_and_says_so():
    fitted = create_encoder("table").fit(Table(frame()), Table(frame(seed=1)))
    made = fitted(Table(frame(seed=2)))
    assert made.shape == (N, len(fitted.outputs())) and torch.isfinite(made).all()
    assert set(fitted.roles.values()) == {"number", "category", "boolean", "date", "ignored", "text"}
    said = " ".join(fitted.said())
    assert "column 'id' counts the rows" in said and "decimal comma" in said and "4 numbers" not in said
    names = fitted.outputs()
    assert "age is missing" in names and "city = Oslo" in names and "since (sine)" in names
    age = made[:, names.index("age")]
    missing = torch.from_numpy(frame(seed=2)["age"].isna().to_numpy())
    assert torch.equal(made[:, names.index("age is missing")].bool(), missing) and not age[missing].any()
    assert made.abs().max() <= 10.0


def test_new_levels_lacking_columns_and_types_that_change_are_no_errors():
    fitted = create_encoder("table").fit(Table(frame()), Table(frame(seed=1)))
    new = frame(seed=2).assign(city="Lima", age="fifty").drop(columns="smokes")
    with pytest.warns(DazooWarning, match="no finite numbers, first 'fifty'"), pytest.warns(match="lacks the columns"):
        made = fitted(Table(new))
    names = fitted.outputs()
    assert made[:, names.index("city is another")].all() and not made[:, names.index("age")].any()
    with pytest.raises(DazooError, match="none of the columns"):
        fitted(Table(pd.DataFrame({"other": [1]})))


def test_roles_can_be_said_and_are_checked():
    rows = Table(frame())
    roles = {"id": "category", "note": "ignored"}
    fitted = create_encoder("table", roles=roles).fit(rows, rows[:0])
    assert fitted.roles["id"] == "category" and not any("note" in n for n in fitted.outputs())
    for wrong, said in (({"ag": "number"}, "did you mean 'age'"), ({"age": "numbr"}, "did you mean 'number'")):
        with pytest.raises(DazooError, match=said):
            create_encoder("table", roles=wrong).fit(rows, rows[:0])


def test_spellings_are_pointed_out_and_gaps_that_tell_domains_apart_are_no_feature():
    source = frame().assign(city=np.tile([" Rome", "rome ", "Oslo"], N // 3))
    target = frame(seed=1).assign(age=np.nan)
    fitted = create_encoder("table").fit(Table(source), Table(target))
    said = " ".join(fitted.said())
    assert "several ways (' Rome', 'rome ', 'Rome')" in said and "'age' is empty in the target" in said
    assert "age is missing" not in fitted.outputs()


def test_a_model_of_mixed_tables_from_frames_to_a_saved_file(tmp_path: Path):
    y, yt = ((frame(seed=s)["city"] == "Oslo").map({True: "north", False: "south"}) for s in (0, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        task = dazoo.Task.from_arrays(frame(), y, frame(seed=1), yt)
        model = dazoo.fit("kmm", task, classifier="trees")
    assert any("columns are read as" in str(w.message) for w in caught)
    assert dazoo.evaluate(model, task)["accuracy"] > 0.9
    dazoo.save(model, tmp_path / "m")
    again = dazoo.load(tmp_path / "m")
    assert torch.equal(again.predict(frame(seed=3)).scores, model.predict(frame(seed=3)).scores)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_trees_are_those_of_scikit_learn(classes):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x, w = torch.from_numpy(RNG.normal(size=(80, 4))), torch.from_numpy(RNG.uniform(0.5, 2, 80))
    y = torch.from_numpy(RNG.integers(0, classes, 80)) if classes else x[:, 0].square()
    head = classifier("trees", rounds=5).fit(x, y, classes, w)
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(max_iter=5, max_leaf_nodes=15, min_samples_leaf=4, early_stopping=False, random_state=0)
    model.fit(x.numpy(), y.numpy(), (w * (len(w) / w.sum())).numpy())
    new = torch.from_numpy(RNG.normal(size=(50, 4)))
    ours = head(new)
    theirs = model.predict_proba(new.numpy()) if classes else model.predict(new.numpy())[:, None]
    assert np.allclose(ours.softmax(1) if classes else ours, theirs, atol=1e-10)


@pytest.mark.parametrize("form", ["semicolon", "latin", "tab", "lines", "gzip"])
def test_files_in_other_forms_are_the_same_table(form, tmp_path: Path):
    table = pd.DataFrame({"ville": ["Orléans", "Nîmes", "Paris, 5e"], "x": [1.5, 2.5, 3.5]})
    place = tmp_path / {"lines": "a.jsonl", "gzip": "a.csv.gz"}.get(form, "a.csv")
    if form == "lines":
        table.to_json(place, orient="records", lines=True)
    else:
        separator = {"semicolon": ";", "tab": "\t"}.get(form, ",")
        table.to_csv(place, index=False, sep=separator, encoding="latin-1" if form == "latin" else "utf-8")
    if form == "latin":
        with pytest.warns(DazooWarning, match="Latin-1"):
            assert read_table(place).equals(table)
    else:
        assert read_table(place).equals(table)


def test_the_loader_of_tables_keeps_mixed_columns_and_texts(tmp_path: Path):
    place = tmp_path / "a.csv"
    frame().assign(domain=["a", "b"] * (N // 2), label=[0, 0, 1, 1] * (N // 4)).to_csv(place, index=False)
    task = load_task("table/a->b", path=str(place), roles={"id": "ignored"})
    assert task.target.kind == "table" and task.target.x.roles == {"id": "ignored"}
    texts = load_task("table/a->b", path=str(place), text_column="note")
    assert texts.target.kind == "text" and "patient" in next(iter(texts.target.x))
