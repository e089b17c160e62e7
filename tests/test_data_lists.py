"""Images by lists, by tables of metadata and from Hugging Face datasets; texts in folders: tiny trees of each."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dazoo
from dazoo.core.errors import DazooError, DazooWarning, UnknownName
from dazoo.data.registry import expand_tasks, load_domain, load_task

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), colour).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(4):
        picture(tmp_path / "shots" / f"red {i}.png", RED)
        picture(tmp_path / "shots" / f"blue{i}.png", BLUE)
    return tmp_path


# -- lists --------------------------------------------------------------------------------------------------------


def test_lists(pictures: Path) -> None:
    lists = pictures / "lists"
    lists.mkdir()
    (lists / "day.txt").write_text("red 0.png red\nblue0.png blue\n\n", encoding="utf-8")
    (lists / "night_train.txt").write_text("blue1.png,blue\nred 1.png,red\n", encoding="utf-8")
    (lists / "night_test.txt").write_text("red 2.png\tred\n", encoding="utf-8")
    (lists / "fog.txt").write_text("red 3.png\nblue3.png\n", encoding="utf-8")
    how = {"path": "lists", "images": "shots", "image_size": 8}
    day = load_domain("image_list", "day", pictures, **how)
    assert day.classes == ("blue", "red") and day.y.tolist() == [1, 0] and day.x.shape == (2, 8, 8, 3)
    assert day.x[:, 0, 0].tolist() == [list(RED), list(BLUE)]
    night = load_domain("image_list", "night", pictures, **how)
    assert night.y.tolist() == [0, 1] and night.test.y.tolist() == [1]
    assert load_domain("image_list", "fog", pictures, **how).y is None
    assert len(expand_tasks(["image_list/*->*"], pictures, path="lists")) == 6
    (lists / "fog.txt").write_text("red 9.png red\n", encoding="utf-8")
    with pytest.raises(DazooError, match=r"fog\.txt, line 1: there is no image .*option images"):
        load_domain("image_list", "day", pictures, **how)


def test_lists_that_are_none(pictures: Path) -> None:
    (pictures / "day.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DazooError, match="lists no image"):
        load_domain("image_list", "day", path=str(pictures))
    with pytest.raises(DazooError, match="needs a folder of lists"):
        load_domain("image_list", "day", path=str(pictures / "day.txt"))


# -- tables of metadata -------------------------------------------------------------------------------------------


def test_metadata(pictures: Path) -> None:
    rows = [f"{i},{kind},{i % 2},{'test' if i == 3 else 'train'}" for i in range(4) for kind in ("blue", "red")]
    (pictures / "metadata.csv").write_text("\n".join(["i,y,center,split", *rows]) + "\n", encoding="utf-8")
    how = {"path": str(pictures), "domain_column": "center", "file": "shots/blue{i:d}.png", "image_size": 8}
    one = load_domain("wilds", "1", split_column="split", **how)
    assert one.y.tolist() == [0, 1] and one.test.y.tolist() == [0, 1] and one.classes == ("blue", "red")
    zero = load_domain("wilds", "0", split_column="split", **how)
    assert len(zero) == 4 and zero.test is None and zero.x[:, 0, 0].tolist() == [list(BLUE)] * 4
    assert len(load_domain("wilds", "1", split_column="split", drop="test", **how)) == 2
    assert expand_tasks(["wilds/*->*"], path=str(pictures), domain_column="center") == ["wilds/0->1", "wilds/1->0"]
    for wrong, said in (
        ({"domain_column": None}, "must name a column; it has i, y, center, split"),
        ({"domain_column": "centre"}, "did you mean 'center'"),
        ({"file": "shots/{name}.png"}, "does not suit the columns"),
        ({"metadata": "rows.csv"}, "finds no table"),
        ({"file": "shots/{i}.png"}, "cannot read the image"),
    ):
        with pytest.raises(DazooError, match=said):
            load_domain("wilds", "1", **{**how, **wrong})


# -- Hugging Face -------------------------------------------------------------------------------------------------


def test_hugging_face_pictures(pictures: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="not on this machine: pip install 'dazoo[huggingface]'")
    files = [str(pictures / "shots" / n) for n in ("red 0.png", "blue0.png", "red 1.png", "blue1.png")]
    kinds = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["red", "blue"]), style=datasets.Value("string")
    )
    columns = {"image": files, "label": [0, 1, 0, 1], "style": ["oil", "oil", "ink", "ink"]}
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(str(pictures / "saved"))
    task = load_task("huggingface/oil->ink", path=str(pictures / "saved"), domain_column="style", image_size=8)
    assert task.classes == ("blue", "red") and task.target.y.tolist() == [1, 0]
    assert task.target.x[:, 0, 0].tolist() == [list(RED), list(BLUE)]
    with pytest.raises(UnknownName, match="did you mean 'style'"):
        load_domain("huggingface", "oil", path=str(pictures / "saved"), domain_column="styl")


class Rows:
    """As much of a dataset of the library as texts need."""

    def __init__(self, text: list[str], label: list[int]) -> None:
        self.columns = {"text": text, "label": label}
        self.features = {"text": object(), "label": types.SimpleNamespace(names=["bad", "good"])}

    def __len__(self) -> int:
        return len(self.columns["text"])

    def __getitem__(self, column: str) -> list:
        return self.columns[column]

    def select(self, rows: np.ndarray) -> Rows:
        return Rows(*([c[i] for i in rows] for c in self.columns.values()))


def test_hugging_face_texts_and_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dazoo.data.sets import huggingface

    huggingface._read.cache_clear()
    library = types.ModuleType("datasets")
    library.load_from_disk = lambda path: {"books": Rows(["fine", "dull"], [1, 0]), "films": Rows(["great"], [-1])}
    monkeypatch.setitem(sys.modules, "datasets", library)
    task = load_task("huggingface/books->films", path=str(tmp_path))
    assert list(task.sources[0].x) == ["fine", "dull"] and task.sources[0].y.tolist() == [1, 0]
    assert task.target.kind == "text" and task.target.y is None
    assert huggingface.encoder(None, path=str(tmp_path)) == "tfidf"
    with pytest.raises(DazooError, match="cannot be loaded"):
        load_domain("huggingface", "books", path="no/such-dataset")
    monkeypatch.setitem(sys.modules, "datasets", None)
    huggingface._read.cache_clear()
    with pytest.raises(DazooError, match=r"pip install 'dazoo\[huggingface\]'"):
        load_domain("huggingface", "books", path=str(tmp_path))


# -- folders ------------------------------------------------------------------------------------------------------


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def test_texts_in_folders(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path / "books" / "good" / f"{i}.txt", f"a fine and lovely book, number {i}")
        write(tmp_path / "books" / "bad" / f"{i}.txt", f"a dull and boring book, number {i}")
        write(tmp_path / "films" / "good" / f"{i}.txt", f"a fine, lovely film, café {i}", "latin-1")
        write(tmp_path / "films" / "bad" / f"{i}.txt", f"a boring, dull film {i}", "utf-8-sig")
    write(tmp_path / "films" / "loose.txt", "nobody said what this is")
    write(tmp_path / "films" / "good" / "notes.md", "no text file")
    with pytest.warns(DazooWarning, match=r"6 of 13 texts, first .*0\.txt, are not in UTF-8 and were read as Latin-1"):
        task = load_task("text_folder/books->films", path=str(tmp_path))
    assert task.classes == ("bad", "good") and task.target.known.tolist() == [True] * 12 + [False]
    assert task.target.x.values[0] == "a boring, dull film 0" and "café" in task.target.x.values[6]
    model = dazoo.fit("coral", task)
    assert dazoo.evaluate(model, task)["accuracy"] == 1.0
    found = dazoo.diagnose(task)
    assert found.n_source == 12 and found.n_target == 13 and found.advice
    with pytest.raises(DazooError, match="dataset table with text_column"):
        load_domain("text_folder", "books", path=str(tmp_path / "films" / "loose.txt"))


def test_folders_whose_classes_differ_by_case_are_pointed_out(tmp_path: Path) -> None:
    for kind in ("Dog", "dog"):
        picture(tmp_path / "photos" / kind / "0.png", RED)
        write(tmp_path / "letters" / "mail" / kind / "0.txt", "wuff")
    with pytest.warns(DazooWarning, match="'Dog', 'dog' differ by capitals or spaces"):
        load_domain("folder", "photos", path=str(tmp_path), image_size=8)
    with pytest.warns(DazooWarning, match="'Dog', 'dog' differ by capitals or spaces"):
        load_domain("text_folder", "mail", path=str(tmp_path / "letters"))


def test_texts_of_a_column(tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {"text": ["fine", "dull", None, "so dull"], "label": ["+", "-", "+", "-"], "domain": ["a", "a", "b", "b"]}
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for kind in ("parquet", "jsonl", "csv"):
        task = load_task("table/a->b", path=str(tmp_path / f"rows.{kind}"), text_column="text")
        assert list(task.sources[0].x) == ["fine", "dull"] and list(task.target.x) == ["", "so dull"], kind
        assert task.target.kind == "text" and torch.equal(task.target.y, task.sources[0].y)
