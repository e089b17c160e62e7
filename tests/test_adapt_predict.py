"""``dazoo predict`` on every kind of file, on wrong ones, and what it says of samples that have drifted."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import dazoo
from dazoo.adaptation import drift, run
from dazoo.adaptation.drift import looks
from dazoo.adaptation.portfolio import Choice
from dazoo.adaptation.predict import predict_file
from dazoo.cli.commands import app
from dazoo.core.errors import DazooError
from dazoo.data.raw import Table
from dazoo.engine.model import Model
from tests.test_adapt import frame, hasty
from tests.test_adapt_input import recording

RNG = np.random.default_rng(0)
N = 250


def rows(seed: int, n: int = N, y: bool = False) -> pd.DataFrame:
    """A table with rare levels, a rare flag, gaps and a skewed column."""
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, 21)
    made = frame(n, 0.7, seed).assign(
        city=rng.choice([f"c{i}" for i in range(20)], n, p=p / p.sum()),
        amount=np.exp(2 * rng.normal(size=n)),
        flag=rng.random(n) < 0.02,
    )
    return made if y else made.drop(columns="y")


def adapted(source: object, target: object, **options: object) -> Model:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(run, "portfolio", lambda found, setting: [Choice("source_only", "none")])
        patch.setattr(run, "diagnose", hasty)
        return dazoo.adapt(source, target, say=None, **options).model


@pytest.fixture(scope="module")
def table() -> Model:
    return adapted(rows(0, y=True), rows(1), label="y")


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "a new level": (lambda x: x.assign(colour=np.where(x.index % 2, "blue", x.colour)), "colour is another"),
    "gaps in numbers": (lambda x: x.assign(a=x.a.where(x.index % 5 < 2)), r"'a' in 60% of the rows \(before: 0%\)"),
    "gaps in words": (lambda x: x.assign(colour=x.colour.where(x.index % 5 < 1)), "'colour' in 8"),
    "another unit": (lambda x: x.assign(b=x.b / 100), r"most of all b \("),
    "another spread": (lambda x: x.assign(a=4 * (x.a - x.a.mean())), r"most of all a \("),
    "a frequent flag": (lambda x: x.assign(flag=x.index % 2 == 0), "flag"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_drift_of_every_kind_is_pointed_out(table: Model, kind: str) -> None:
    change, says = CHANGES[kind]
    x = change(rows(2))
    said = " ".join(drift(table, table.numbers(Table(x)), Table(x)))
    assert said.startswith("drift") and re.search(says, said), said


def test_no_drift_is_seen_in_the_target_its_parts_and_new_rows_like_it(table: Model) -> None:
    target = rows(1)
    like = [target, *(target.sample(n, random_state=n) for n in (20, 50, 125)), rows(3, 30), *(rows(s) for s in (4, 5))]
    like += [rows(s, n) for s, n in zip(range(6, 26), [20, 25, 40, 60] * 5)]
    for x in like:
        assert drift(table, table.numbers(Table(x)), Table(x)) == []


def test_what_is_remembered_of_many_or_few_samples() -> None:
    assert looks(torch.zeros(10, 2)) == looks(torch.zeros(30, 5000)) == looks(torch.zeros(30, 2, 2)) == {}
    found = looks(torch.tensor([[0.0]] * 30 + [[1.0]] * 10))
    assert found["edges"] == [[0.0, 0.0, 0.25]] and sum(found["shares"][0]) == pytest.approx(1)


def test_tables_of_every_format_give_the_same_predictions(table: Model, tmp_path: Path) -> None:
    x = rows(2, 30)
    writers = {"csv": "to_csv", "csv.gz": "to_csv", "tsv": "to_csv", "parquet": "to_parquet", "jsonl": "to_json"}
    options = {"to_csv": {"index": False}, "to_parquet": {}, "to_json": {"orient": "records", "lines": True}}
    expected = table.predict(x)
    changed = {"order": x[x.columns[::-1]], "labels": x.assign(y="low"), "ignored": x.drop(columns="id")}
    for name, frame_ in {**dict.fromkeys(writers, x), **changed}.items():
        writer = writers.get(name, "to_csv")
        place = tmp_path / (f"a.{name}" if name in writers else f"{name}.csv")
        more = {"sep": "\t"} if name == "tsv" else {}
        getattr(frame_, writer)(place, **options[writer], **more)
        found = predict_file(table, place)
        assert torch.allclose(found.out.scores, expected.scores, atol=1e-6) and found.files is None, name
        assert found.table.splitlines()[1].startswith(f"1,{expected.names[0]},")


@pytest.mark.parametrize(
    ("name", "made", "says"),
    [
        ("empty.csv", b"", "is empty"),
        ("head.csv", b"a,b,colour,city,amount,flag,id\n", "no rows"),
        ("less.csv", b"B,colour,a,city,amount,flag\n1,red,1,c1,1,True\n", "'b' is perhaps 'B'"),
        ("a.npz", b"PK", "damaged"),
        ("a.docx", b"PK", "the model reads a table with the columns id, a, b"),
        ("folder/a.txt", b"words", "is a folder, but the model reads a table"),
    ],
)
def test_files_that_the_model_cannot_read(table: Model, tmp_path: Path, name: str, made: bytes, says: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(made)
    with pytest.raises(DazooError, match=says):
        predict_file(table, tmp_path / name.split("/")[0])


def test_folders_and_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(24):
        recording(f"s/{'high' if i % 2 else 'low'}/{i:02d}.wav", (900 if i % 2 else 200) + i)
        recording(f"t/{i:02d}.wav", (900 if i % 2 else 200) + 3 * i)
    model = adapted("s", "t", out="m")
    found = predict_file(model, Path("t"))
    assert found.files == [f"{i:02d}.wav" for i in range(24)] and found.said == []
    assert found.table == Path("m/predictions.csv").read_text()
    for i in range(24):
        recording(f"u/{i:02d}.wav", 3000)
    assert "drift" in predict_file(model, Path("u")).said[0]
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("words")
    Path("void").mkdir()
    for place, says in (
        ("texts", "holds text samples, but the model reads a folder of recordings"),
        ("void", "no row"),
    ):
        with pytest.raises(DazooError, match=says):
            predict_file(model, Path(place))
    x = RNG.normal(size=(60, 5))
    arrays = adapted((x, np.where(x[:, 0] > 0, "up", "down")), x[:40] + 0.2)
    np.savez("x.npz", x=x)
    np.savez("z.npz", z=x)
    frame(9, 0, 0).to_csv("t.csv", index=False)
    assert list(predict_file(arrays, Path("x.npz")).out.names) == list(arrays.predict(x).names)
    for place, says in (("z.npz", "no array x, but z"), ("t.csv", "is a table, but the model reads an .npz")):
        with pytest.raises(DazooError, match=says):
            predict_file(arrays, Path(place))


def test_the_file_to_predict_is_not_overwritten(table: Model, tmp_path: Path) -> None:
    rows(2, 9).to_csv(tmp_path / "x.csv", index=False)
    dazoo.save(table, tmp_path / "m.safetensors")
    place = str(tmp_path / "x.csv")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "m.safetensors"), place, "--out", place])
    assert "would be overwritten" in str(done.exception) and len(pd.read_csv(place).columns) == 7
