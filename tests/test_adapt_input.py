"""What people give ``dazoo adapt`` by mistake: a sentence each, before anything is computed, nothing overwritten."""

from __future__ import annotations

import os
import warnings
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dazoo
from dazoo.adaptation import run
from dazoo.adaptation.portfolio import Choice
from dazoo.core.errors import DazooError
from dazoo.data.labels import read
from dazoo.data.leaks import copies_of_labels
from tests.test_adapt import frame, hasty

SOURCE, NEW = frame(60, 0.0, 0), frame(40, 0.7, 1)
BARE = NEW.drop(columns="y")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One candidate, no diagnosis, in an empty folder."""
    monkeypatch.setattr(run, "portfolio", lambda found, setting: [Choice("source_only", "none")])
    monkeypatch.setattr(run, "diagnose", hasty)
    monkeypatch.chdir(tmp_path)


def adapt(source: object, target: object, **options: object) -> tuple[run.Adaptation, str]:
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = dazoo.adapt(source, target, say=said.append, **options)
    return made, "\n".join(said)


def frames() -> dict[str, tuple[pd.DataFrame, pd.DataFrame, str]]:
    """Source, target, and what is said of them."""
    n = len(SOURCE)
    return {
        "swapped": (BARE, SOURCE, "are source and target swapped"),
        "swapped, both have the column": (NEW.assign(y=NEW.y.where(NEW.index < 9)), SOURCE, "swapped"),
        "the same in another order": (SOURCE, SOURCE.drop(columns="y").sample(frac=1, random_state=1), "the same rows"),
        "no row in the source": (SOURCE[:0], BARE, "the source has no rows"),
        "no row in the target": (SOURCE, BARE[:0], "the target has no rows"),
        "one row in the target": (SOURCE, BARE[:1], "one row"),
        "five rows in the source": (SOURCE[:5], BARE, "5 labelled rows of 3 classes"),
        "no label at all": (SOURCE.assign(y=None), BARE, "no row of the source has a label"),
        "one class": (SOURCE.assign(y="a"), BARE, "the one class"),
        "labels that are names of rows": (SOURCE.assign(y=[f"p{i}" for i in range(n)]), BARE, "right column"),
        "fractions": (SOURCE.assign(y=RNG.normal(size=n)), BARE, "continuous"),
        "fractions as text": (SOURCE.assign(y=[f"{v:.3f}" for v in RNG.normal(size=n)]), BARE, "continuous"),
        "a number for every row": (SOURCE.assign(y=np.arange(n)), BARE, "continuous"),
        "dates": (SOURCE.assign(y=pd.date_range("2020", periods=n)), BARE, "are dates"),
        "a column twice": (pd.concat([SOURCE, SOURCE[["a"]]], axis=1), BARE, "several columns called 'a'"),
        "no column in common": (SOURCE, BARE.rename(columns=lambda c: f"{c}_"), "no column in common"),
        "nothing but labels": (SOURCE[["y"]], BARE, "no column in common"),
        "nothing that varies": (SOURCE[["y"]].assign(a=1.0), BARE[[]].assign(a=1.0), "no column that varies"),
        "labels of another column": (SOURCE, BARE.assign(y="x"), "that the source has no sample of"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", frames())
def test_frames_that_cannot_be_adapted(kind: str) -> None:
    source, target, says = frames()[kind]
    with pytest.raises(DazooError, match=says):
        adapt(source, target, label="y")


def doubtful() -> dict[str, tuple[pd.DataFrame, pd.DataFrame, str]]:
    few = NEW.y.where(NEW.index < 9)
    counts = np.repeat(np.arange(30), 10)
    many = frame(300, 0.0, 3)
    return {
        "rows of the source": (SOURCE, pd.concat([BARE, SOURCE.drop(columns="y")[:7]]), "7 of 47 target rows are rows"),
        "another class": (SOURCE, NEW.assign(y=few.replace("low", "least")), "'least'; it has 'high', 'low', 'mid'"),
        "another spelling": (
            SOURCE,
            NEW.assign(y=few.replace("low", " Low")),
            "' Low' of the target are read as 'low'",
        ),
        "columns of another spelling": (SOURCE, BARE.rename(columns={"a": " A"}), "'a' is perhaps ' A'"),
        "amounts": (many.assign(y=counts), BARE, "30 different whole numbers"),
        "a class of one row": (SOURCE.assign(y=["odd", *SOURCE.y[1:]]), BARE, "'odd', has one labelled row"),
        "a row without a label": (SOURCE.assign(y=[None, *SOURCE.y[1:]]), BARE, "1 rows of the source have no label"),
        "a column that is the label": (SOURCE.assign(c=SOURCE.y.str[0]), BARE.assign(c="h"), "'c' alone tells"),
        "cells that are no numbers": (SOURCE.assign(a=[np.inf, *SOURCE.a[1:]]), BARE, "no finite numbers"),
        "numbers as text": (SOURCE, BARE.assign(a=BARE.a.map(str)), "'a' holds numbers as text"),
        "words for numbers": (SOURCE, BARE.assign(b=["x", "y"] * 20), "'b' holds number cells in the source but"),
    }


@pytest.mark.parametrize("kind", doubtful())
def test_what_is_doubtful_is_said_and_a_model_comes_out(kind: str) -> None:
    source, target, says = doubtful()[kind]
    made, said = adapt(source, target, label="y")
    assert says in said and len(made.predictions.labels) == len(target)
    if "class" in says or kind == "another class":
        assert made.model.classes == made.task.classes == ("high", "low", "mid")
        assert made.measured is not None and made.measured < 1


def test_columns_in_another_order_change_nothing() -> None:
    one, said = adapt(SOURCE, BARE, label="y")
    other, _ = adapt(SOURCE, BARE[["colour", "b", "id", "a"]], label="y")
    assert torch.equal(one.predictions.scores, other.predictions.scores) and "are rows of the source" not in said


def test_the_code_that_is_given_for_values_runs() -> None:
    SOURCE.assign(y=2 * SOURCE.a + 0.5).to_csv("train.csv", index=False, sep=";")
    NEW.to_parquet("new.parquet")
    with pytest.raises(DazooError, match="continuous") as error:
        adapt("train.csv", "new.parquet", label="y")
    names: dict[str, object] = {}
    code = "\n".join(line[4:] for line in str(error.value).splitlines() if line.startswith("    "))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code, "remedy", "exec", dont_inherit=True), names)
    assert np.corrcoef(names["values"], 2 * NEW.a)[0, 1] > 0.9


def columns() -> dict[str, tuple[object, bool]]:
    y = np.repeat([0, 1, 2], 20)
    return {
        "numbers sorted by class": (np.cumsum(1 + RNG.integers(0, 9, 60)), True),
        "levels of one class each": ([f"{'abc'[k]}{i % 3}" for i, k in enumerate(y)], True),
        "the same but for one row": ([f"{'abc'[k if i else 1]}{i % 3}" for i, k in enumerate(y)], False),
        "names of rows": ([f"r{i}" for i in range(60)], False),
        "a good feature": (10 * y + np.r_[12, np.zeros(58), -12], False),
        "a tie": (np.r_[np.zeros(21), np.ones(19), 2 * np.ones(20)], False),
    }


@pytest.mark.parametrize("kind", columns())
def test_columns_that_alone_tell_the_label(kind: str) -> None:
    column, tells = columns()[kind]
    table = pd.DataFrame({"c": column, "word": ["u", "v"] * 30})
    task = dazoo.Task.from_arrays(table, np.repeat(["x", "y", "z"], 20), table)
    assert bool(copies_of_labels(task.sources)) == tells and not copies_of_labels(task.sources, ["c"])


def write(name: str, data: bytes = b"") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return name


def recording(name: str, pitch: float) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    with wave.open(name, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(2 * np.pi * pitch * np.arange(800) / 8000)).astype("<i2").tobytes())


def places() -> dict[str, tuple[Callable[[], tuple[str, str]], str]]:
    csv = SOURCE.to_csv(index=False)
    bare = BARE.to_csv(index=False).encode()
    return {
        "an empty file": (lambda: (write("s.csv"), write("t.csv", bare)), "s.csv is empty"),
        "names of columns alone": (lambda: (write("s.csv", csv.encode()), write("t.csv", b"a,b\n")), "no rows"),
        "UTF-16": (lambda: (write("s.csv", csv.encode("utf-16")), write("t.csv", bare)), "UTF-16"),
        "bytes": (lambda: (write("s.csv", bytes(range(256)) * 9), write("t.csv", bare)), "s.csv"),
        "a broken archive": (lambda: (write("s.npz", b"PK\3\4"), write("t.npz", b"PK\3\4")), "s.npz"),
        "a workbook": (lambda: (write("s.xlsx", b"PK"), write("t.csv", bare)), "export it as .csv"),
        "a folder and a file": (lambda: (str(Path(write("d/x/a.txt")).parent), write("t.csv", bare)), "is a folder"),
        "no folder": (lambda: (write("s.csv", csv.encode()), "nowhere"), "no file or folder nowhere"),
        "empty folders": (lambda: (os.mkdir("d") or "d", os.mkdir("e") or "e"), "holds no pictures"),
        "texts for recordings": (lambda: (recording("d/x/a.wav", 300) or "d", write("e/a.txt") and "e"), "one kind"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", places())
def test_files_and_folders_that_cannot_be_adapted(kind: str) -> None:
    make, says = places()[kind]
    source, target = make()
    label = None if source.endswith("z") or (Path(source).is_dir() and Path(target).is_dir()) else "y"
    with pytest.raises(DazooError, match=says):
        adapt(source, target, label=label, out="m")


def test_a_label_column_of_folders_and_unknown_options_are_refused_before_anything_is_read() -> None:
    recording("d/x/a.wav", 300)
    write("e/a.txt")
    with pytest.raises(DazooError, match="names of its class folders; leave it out"):
        adapt("d", "e", label="y")
    with pytest.raises(DazooError, match="'tme'"):
        adapt(SOURCE, BARE, label="y", tme="5m")
    with pytest.raises(DazooError, match="seed"):
        adapt(SOURCE, BARE, label="y", seed=-1)


@pytest.mark.parametrize(
    ("place", "says"), [("t.csv", "is a file"), ("t.csv/m", "cannot be written"), ("d", "of someth")]
)
def test_places_that_results_cannot_be_written_to(place: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("t.csv", b"mine")
    write("d/predictions.csv", b"mine")
    with pytest.raises(DazooError, match=says):
        adapt(SOURCE, BARE, label="y", out=place)
    assert Path("t.csv").read_bytes() == Path("d/predictions.csv").read_bytes() == b"mine"


def test_a_candidate_that_breaks_in_any_way_and_a_card_that_cannot_be_made_lose_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = run.Bench._fit

    def broken(self, choice, hurry):
        if choice.method == "coral":
            raise KeyError("plug-in")
        return honest(self, choice, hurry)

    plan = [Choice("source_only", "none"), Choice("coral", "none")]
    monkeypatch.setattr(run, "portfolio", lambda found, setting: plan)
    monkeypatch.setattr(run.Bench, "_fit", broken)
    monkeypatch.setattr("dazoo.adaptation.card.card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adapt(SOURCE, BARE, label="y", out="m")
    assert "KeyError: 'plug-in'" in Path("m/adapt.json").read_text()
    assert list(dazoo.load("m/model.safetensors").predict(BARE).names) == list(
        pd.read_csv("m/predictions.csv").prediction
    )


def test_numbers_are_told_from_names_of_classes() -> None:
    from dazoo.adaptation.checks import _as_numbers

    assert _as_numbers(read(["1", "2"], "y")) == (True, False)
    assert _as_numbers(read(["1.5", "2"], "y")) == (True, True)
    assert _as_numbers(read(["1", "inf"], "y")) == _as_numbers(read(["a", "2"], "y")) == (False, False)


def test_a_column_can_be_left_out_and_a_failure_leaves_the_folder_free(tmp_path: Path) -> None:
    """A date that tells the two sides apart by itself."""
    rng = np.random.default_rng(0)

    def side(year: int) -> pd.DataFrame:
        y = rng.integers(0, 2, 40)
        days = [f"{year}-01-{1 + i % 28:02}" for i in range(40)]
        return pd.DataFrame({"when": days, "a": y + 0.3 * rng.normal(size=40), "b": rng.normal(size=40), "y": y})

    source, target = side(2023), side(2024).drop(columns="y")
    out = tmp_path / "model"
    with pytest.raises(DazooError, match="encoder"):
        dazoo.adapt(source, target, label="y", out=out, encoder="tabel", say=None)
    said: list[str] = []
    made = dazoo.adapt(source, target, label="y", ignore=["when"], out=out, time=0, say=said.append)
    assert made.model.schema.names == ("a", "b")
    assert dazoo.load(out).predict(target[["a", "b"]]).probs.shape == (40, 2)
    with pytest.raises(DazooError, match="no column 'wen' to ignore"):
        dazoo.adapt(source, target, label="y", ignore=["wen"], say=None)


def test_warnings_about_data_are_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(60.0), "y": ["No", "yes", "no"] * 20})
    said: list[str] = []
    dazoo.adapt(frame, frame[["a"]] + 0.5, label="y", time=0, say=said.append)
    assert any("differ by capitals" in line for line in said)
