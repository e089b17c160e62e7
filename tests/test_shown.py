"""What notebooks, prints and pictures show of tasks, models, predictions and diagnoses; cards and the hub's files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure

import dazoo
from dazoo import DazooError, Task
from dazoo.core.shown import counted, table
from dazoo.core.types import Prediction
from dazoo.trackers import numbers

matplotlib.use("Agg")


def arrays(seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(45) % 3
    return (rng.normal(size=(45, 5)) + 3 * np.eye(5)[y] + shift).astype(np.float32), np.array(["ash", "<oak>", "yew"])[
        y
    ]


@pytest.fixture(scope="module")
def task() -> Task:
    (x, y), (xt, yt) = arrays(), arrays(1, 1.0)
    return Task.from_arrays(x, y, xt, yt, name="trees/here->there")


@pytest.fixture(scope="module")
def model(task: Task) -> Any:
    return dazoo.fit("coral", task, classifier="logistic")


def test_nothing_prints_tensors(task: Task, model: Any) -> None:
    """One line each, with what a person wants to know."""
    out = model.predict(task.target.x)
    lines = [repr(v) for v in (task, task.target, task.sources[0], model, out, dazoo.diagnose(task), model.report)]
    assert all("tensor(" not in line and "\n" not in line and len(line) < 500 for line in lines), lines
    assert lines[1] == "<domain target: 45 vector samples (5), 3 classes>"
    assert lines[4].startswith("<prediction of 45 samples: ") and "yew 1" in lines[4]
    assert "A-distance" in lines[5] and "skill" in lines[5]
    assert repr(Prediction(torch.zeros(2, 3))) == "<prediction of 2 samples: 0 2>"
    values = Prediction(torch.tensor([[1.0], [3.0]]))
    assert repr(values) == "<prediction of 2 samples: values 1 to 3, mean 2>" and "3" in values._repr_html_()
    assert repr(values.rows(slice(0))) == "<prediction of no samples: values>"
    unknown = Prediction(torch.zeros(1, 2), classes=("a", "b"), unknown=torch.ones(1), threshold=0.5)
    assert "unknown 1" in repr(unknown)


def test_notebooks_show_tables(task: Task, model: Any) -> None:
    """Names come from people, so they are escaped; labels of the target stay hidden."""
    pages = [v._repr_html_() for v in (task, model, model.predict(task.target.x), dazoo.diagnose(task), model.report)]
    assert all(p.count("<table>") == 1 and "<oak>" not in p for p in pages)
    assert "&lt;oak&gt; 15" in pages[0] and pages[0].count("ash 15") == 1 and "hidden" in pages[0]
    assert "coral" in pages[1] and "probability" in pages[2] and "A-distance" in pages[3] and "fit_seconds" in pages[4]
    assert counted(["b", "a", "b"]) == "b 2, a 1" and "and 3 more" in table("t", [(i,) for i in range(5)], most=2)


def test_a_card_says_what_a_model_is(task: Task, model: Any, tmp_path: Path) -> None:
    card = model.card
    for words in (
        "# coral: a classifier of 3 classes",
        "<oak>, ash, yew",
        "Return of Frustratingly Easy",
        "Unknown: no target label",
    ):
        assert words in card
    assert "&lt;oak&gt;" in card.html and "<a href=" in card.html and card._repr_html_() == card.html
    page = card.write(tmp_path / "c" / "card.html").read_text()
    assert page.startswith("<!doctype html>") and "<h2>Versions</h2>" in page
    assert card.write(tmp_path / "card.md").read_text() == f"{card}\n"
    (x, y), (xt, _) = arrays(), arrays(1, 1.0)
    scores: list[Any] = []
    follow = type(
        "Follow", (dazoo.Callback,), {"on_checkpoint": lambda self, step, found: scores.append((step, found))}
    )()
    made = dazoo.adapt((x, y), xt, say=None, time=0, callbacks=follow)
    assert scores[0][0] == 1 and "source_only" in next(iter(scores[0][1]))
    assert len(made.model.plot_domains().axes) == 2
    assert numbers(made.model.report)["expected accuracy"] == made.expected.value
    assert "% of the target, between" in made.model.card and "<table>" in made._repr_html_()
    few = dazoo.fit("coral", Task.from_arrays(x, np.arange(45.0) / 7, xt))
    assert "a regression" in few.card


def test_the_hub_gets_model_card_and_classes(
    task: Task, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = dazoo.push_to_hub(model, tmp_path / "m", licence="mit")
    _, head, rest = (tmp_path / "m" / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(head)
    assert (
        about["library_name"] == "dazoo"
        and about["pipeline_tag"] == "tabular-classification"
        and about["license"] == "mit"
    )
    assert (
        "dazoo.from_hub(" in rest and json.loads((tmp_path / "m" / "config.json").read_text())["classes"][0] == "<oak>"
    )
    assert torch.equal(dazoo.from_hub(here).predict(task.target.x).scores, model.predict(task.target.x).scores)
    hub, asked = tmp_path / "hub", []

    class Api:
        endpoint = "https://hub"

        def __init__(self, token: str | None = None) -> None:
            asked.append(token)

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            asked.append((repo_id, private, exist_ok))

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
            shutil.copytree(folder_path, hub / repo_id)

    def download(repo_id: str, filename: str, revision: str | None, token: str | None) -> str:
        if not (hub / repo_id).is_dir():
            raise OSError("no such repository")
        return str(hub / repo_id / filename)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert dazoo.push_to_hub(model, "me/trees", private=True, token="t") == "https://hub/me/trees"
    assert asked == ["t", ("me/trees", True, True)]
    assert "from_hub('me/trees')" in (hub / "me" / "trees" / "README.md").read_text()
    assert dazoo.from_hub("me/trees").classes == model.classes
    for call, sentence in (
        (lambda: dazoo.from_hub("me/other"), "no model 'me/other'.*no such repository"),
        (lambda: dazoo.from_hub(tmp_path / "none"), "holds no model.safetensors"),
        (lambda: dazoo.push_to_hub(model, "trees"), "a repository is 'name/repository'"),
        (lambda: dazoo.push_to_hub(model.inner, "me/trees"), "not ShallowPredictor"),
    ):
        with pytest.raises(DazooError, match=sentence):
            call()


def picture(task: Task) -> list[str]:
    figure = task.plot()
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    return [a.get_title() for a in figure.axes]


def test_tasks_of_every_kind_have_a_picture(task: Task) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    images, series = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8), rng.normal(size=(20, 2, 12))
    waves = [rng.normal(size=n) for n in range(400, 420)]
    words = [f"word number {i} " * (1 + i % 3) for i in range(20)]
    frame = pd.DataFrame({"a": np.where(y, np.nan, 1.0), "b": ["x", "z"] * 10})
    kinds = {
        "two principal": task,
        "samples of each": Task.from_arrays(images, y, images, kind="image"),
        "3 samples": Task.from_arrays(series, y, series),
        "3 samples of each": Task.from_arrays(waves, y, waves, kind="audio"),
        "lengths of the texts": Task.from_arrays(words, y, words),
        "cells that are filled": Task.from_arrays(frame, y, frame),
        "different features": Task.from_arrays(series[:, 0], y, series[:, 0, :5], setting="heterogeneous"),
    }
    for title, one in kinds.items():
        first, second = picture(one)
        assert title in first and second == "class shares of the sources", title
    assert picture(Task.from_arrays(series[:, 0], rng.normal(size=20), series[:, 0]))[1] == "values of the sources"
    many = Task.from_arrays([series[:, 0]] * 2, [y, y], series[:, 0], setting="multi_source")
    assert len(many.plot().axes[0].get_legend().texts) == 3


def test_a_model_plots_its_domains(task: Task, model: Any, tmp_path: Path) -> None:
    figure = model.plot_domains()
    figure.canvas.draw()
    assert {t.get_text() for t in figure.axes[0].get_legend().texts} == {"source", "target"}
    assert {t.get_text() for t in figure.axes[1].get_legend().texts} == {"ash", "<oak>", "yew"}
    dazoo.save(model, tmp_path / "m")
    again = dazoo.load(tmp_path / "m")
    with pytest.raises(DazooError, match="holds no samples of its fit"):
        again.plot_domains()
    assert len(again.plot_domains(task.sources[0].x, task.target.x).axes) == 2
