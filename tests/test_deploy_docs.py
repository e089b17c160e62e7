"""The page on models outside runs as it is written; the demo's page without a server."""

from __future__ import annotations

import re
import shlex
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import dazoo
from dazoo import DazooError, Task
from dazoo.cli.commands import app
from dazoo.deploy.demo import ask, interface

matplotlib.use("Agg")
PAGE = Path(__file__).parent.parent / "docs" / "deploy.md"


def test_the_page_on_models_outside_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = re.findall(r"^```(python|console)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    assert len(found) >= 8
    for kind, block in found:
        if kind == "python":
            exec(compile(block, "docs/deploy.md", "exec", dont_inherit=True), names)
        for line in block.splitlines() if kind == "console" else ():
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, done.output
    assert {"model.onnx", "card.html", "trees", "task.png", "domains.png"} <= {p.name for p in tmp_path.iterdir()}


class Part:
    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options


@pytest.fixture
def gradio(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The parts of gradio that are used, which only remember what they were given."""
    module = types.ModuleType("gradio")
    for name in ("Textbox", "Image", "Audio", "Dataframe", "Label", "Number", "Interface"):
        setattr(module, name, type(name, (Part,), {}))
    module.Error = type("Error", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gradio", module)
    return module


def fitted(x: Any, y: Any, classifier: str = "logistic", **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dazoo.fit("source_only", Task.from_arrays(x, y, x, **options), classifier=classifier)


def test_a_person_tries_a_model(gradio: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"])[np.arange(20) % 2]
    words = [f"{'tree' if i % 2 else 'sea'} {i}" for i in range(20)]
    frame = pd.DataFrame({"size": rng.normal(size=20) + (y == "b"), "maker": np.where(y == "a", "x", "z")})
    text, table = fitted(words, y), fitted(frame, y)
    vector = fitted(rng.normal(size=(20, 3)) + (y == "b")[:, None], y)
    pictures = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    task = Task.from_arrays(pictures, y, pictures, kind="image")
    encoder = {"name": "image_features", "backbone": "none"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = dazoo.fit("source_only", task, classifier="logistic", encoder=encoder)
    for model, given, widget in (
        (text, "a tree", "Textbox"),
        (table, pd.DataFrame([["1.5", "z"]], columns=["size", "maker"]), "Dataframe"),
        (vector, [1, 2, 3], "Dataframe"),
        (picture, rng.integers(0, 256, (30, 20, 3), dtype=np.uint8), "Image"),
    ):
        page = interface(model)
        answer, shown, out = page.args
        assert type(shown).__name__ == widget and type(out).__name__ == "Label"
        assert answer(given) == ask(model, given) and set(answer(given)) == {"a", "b"}
        assert sum(answer(given).values()) == pytest.approx(1.0) and "## Data" in page.options["article"]
        with pytest.raises(gradio.Error, match="nothing to predict"):
            answer(None)
    with pytest.raises(DazooError, match="takes numbers"):
        ask(vector, ["1", "two", "3"])
    values = fitted(rng.normal(size=(20, 3)), rng.normal(size=20), "ridge")
    assert isinstance(ask(values, [0, 1, 2]), float) and type(interface(values).args[2]).__name__ == "Number"


def test_the_demo_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gradio: Any) -> None:
    rng = np.random.default_rng(0)
    model = fitted(rng.normal(size=(20, 3)), np.arange(20) % 2)
    dazoo.save(model, tmp_path / "m")
    launched: list[Any] = []
    gradio.Interface.launch = lambda self, **options: launched.append(options)
    done = CliRunner().invoke(app, ["demo", str(tmp_path / "m"), "--port", "7001"])
    assert done.exit_code == 0 and launched == [{"server_port": 7001, "share": False}]
    series = fitted(rng.normal(size=(20, 2, 9)), np.arange(20) % 2)
    with pytest.raises(DazooError, match="cannot be typed in"):
        interface(series)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(DazooError, match="pip install gradio"):
        interface(model)
