"""ONNX files answer like the models that they were made of, for every kind of model, and what cannot be says so."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from typer.testing import CliRunner

import dazoo
from dazoo import DazooError, Task
from dazoo.adaptation import run
from dazoo.adaptation.portfolio import Choice
from dazoo.cli.commands import app
from dazoo.engine.fit import Options, fit
from dazoo.engine.model import Model
from dazoo.methods.base import create_method
from tests.toys import TINY

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from dazoo.deploy import network as deploy_network  # noqa: E402
from dazoo.deploy.onnx import distance, export_onnx  # noqa: E402
from dazoo.deploy.samples import feed_of  # noqa: E402


def vectors(n: int = 60, classes: int = 3, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, 5)) + 3 * np.eye(5)[y] + shift
    return (x * [1, 1, 1, 1, 200]).astype(np.float32), np.array(["ash", "oak", "yew", "fir"])[y]


def task_of(**options: Any) -> Task:
    x, y = vectors()
    return Task.from_arrays(x, y, vectors(40, seed=1, shift=0.5)[0], **options)


def fitted(method: str, task: Task, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dazoo.fit(method, task, **options)


def said_by(path: Path, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))


def check(model: Any, path: Path, x: np.ndarray) -> None:
    """On other samples than those that the export compares by itself."""
    made = export_onnx(model, path)
    assert made.difference is not None and made.difference <= 1e-5 and str(path) in str(made)
    said, out = said_by(path, {"x": x}), model.predict(x)
    assert distance(said, out) <= 1e-5
    if "label" in said:
        assert (said["label"] == out.labels.numpy()).all()
        classes = json.loads({p.key: p.value for p in onnx.load(path).metadata_props}["dazoo.classes"])
        assert classes == list(model.classes)
    dazoo.save(model, path.with_suffix(".safetensors"))
    again = export_onnx(dazoo.load(path.with_suffix(".safetensors")), path)
    assert again.outputs == made.outputs


@pytest.mark.parametrize(
    ("method", "classifier"),
    [
        ("source_only", "logistic"),
        ("coral", "logistic"),
        ("sa", "svm"),
        ("pca", "svm_rbf"),
        ("ot_linear", "1nn"),
        ("tca", "ridge"),
        ("easyadapt", "logistic"),
        ("source_only", "trees"),
        ("bbse", "logistic"),
    ],
)
def test_a_shallow_model(tmp_path: Path, method: str, classifier: str) -> None:
    few = {"few": (np.arange(6), vectors(40, seed=1)[1][:6])} if method == "easyadapt" else {}
    model = fitted(method, task_of(**few), classifier=classifier, transform="zscore")
    check(model, tmp_path / "m.onnx", vectors(50, seed=5)[0])


@pytest.mark.parametrize("transform", [None, "zscore_pooled", ["unit_norm", "scale"]])
def test_preprocessing_travels(tmp_path: Path, transform: Any) -> None:
    check(fitted("coral", task_of(), classifier="logistic", transform=transform), tmp_path / "m.onnx", vectors(9)[0])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("dann", {}),
        ("adabn", {"recipe": replace(TINY, norm="batch")}),
        ("source_only", {"backbone": "mlp"}),
        ("mcd", {}),
    ],
)
def test_a_network_on_vectors(tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    model = fitted(method, task_of(), **{"recipe": TINY, "transform": "zscore", **options})
    check(model, tmp_path / "m.onnx", vectors(50, seed=5)[0])


@pytest.mark.parametrize(("shape", "backbone"), [((12, 12), "cnn"), ((10, 14, 3), "cnn"), ((24, 22, 3), "test_resnet")])
def test_a_network_on_pictures(tmp_path: Path, shape: tuple[int, ...], backbone: str) -> None:
    """Crop, resizing and normalisation are in the file, and pictures may have been given in any layout."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (16, *shape), dtype=np.uint8)
    y = np.arange(16) % 2
    x[y == 1] //= 2
    task = Task.from_arrays(x, y, x[::-1].copy(), kind="image")
    recipe = replace(TINY, steps=2, batch=4, test_view="squashed" if shape == (10, 14, 3) else "centre")
    if backbone == "cnn":
        model = fitted("source_only", task, recipe=recipe, backbone=backbone)
    else:  # one of timm's, untrained
        options = Options(recipe=recipe, backbone=backbone, pretrained=False, image_size=16)
        model = Model(fit(create_method("source_only"), task.seen(), options=options).predictor, task.target.schema)
    check(
        model,
        tmp_path / "m.onnx",
        rng.integers(0, 256, (5, *shape, *([1] if len(shape) == 2 else []))).astype(np.uint8),
    )


@pytest.mark.parametrize("network", ["none", "test_resnet"])
def test_frozen_features(tmp_path: Path, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backbone of timm's, with weights of chance that are the same at every call."""
    from dazoo.nets import frozen, lookup

    def build(shape: tuple[int, ...], *, pretrained: bool = False, **more: Any) -> torch.nn.Module:
        torch.manual_seed(0)
        return entry.build(shape, pretrained=False, **more)

    entry = lookup.get_backbone(network)
    known = entry if network == "none" else replace(entry, build=build, has_pretrained=True)
    for module in (frozen, deploy_network):
        monkeypatch.setattr(module, "frozen_backbone", lambda name: known)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 20, 28, 3), dtype=np.uint8), np.arange(20) % 2
    x[y == 1] //= 2
    task = Task.from_arrays(x, y, x[:10], kind="image")
    model = fitted("coral", task, encoder={"name": "image_features", "backbone": network}, classifier="logistic")
    made = export_onnx(model, tmp_path / "m.onnx")
    assert made.difference is not None
    assert distance(said_by(tmp_path / "m.onnx", {"x": x[:3]}), model.predict(x[:3])) <= 1e-5


def test_a_network_on_series_and_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 2, 16)).astype(np.float32)
    values = (x.mean((1, 2)) * 900 + 5000).astype(np.float64)
    model = fitted("source_only", Task.from_arrays(x, values, x[:12]), recipe=TINY)
    check(model, tmp_path / "m.onnx", rng.normal(size=(6, 2, 16)).astype(np.float32))
    ridge = fitted("coral", Task.from_arrays(x[:, 0], values, x[:12, 0]), classifier="ridge")
    check(ridge, tmp_path / "r.onnx", x[:5, 0])


def test_unknown_samples(tmp_path: Path) -> None:
    """Those of a rule of the method, and those of a closed-set method by entropy."""
    x, y = vectors()
    task = Task.from_arrays(x, y, vectors(40, 4, 1)[0], setting="open_set")
    for method, recipe in (("osbp", TINY), ("coral", None)):
        model = fitted(method, task, recipe=recipe)
        check(model, tmp_path / "m.onnx", vectors(50, 4, 5)[0])
        assert "unknown" in export_onnx(model, tmp_path / "m.onnx").outputs


def table(n: int, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    heat = np.where(rng.random(n) < 0.1, np.nan, 20 + 5 * y + rng.normal(size=n) + shift)
    maker = np.where(rng.random(n) < 0.1, None, np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, n)])
    frame = {
        "heat in C": heat,
        "maker": maker,
        "on": rng.random(n) < 0.3 + 0.4 * y,
        "speed": 3.0 * y + rng.normal(size=n),
    }
    return pd.DataFrame({**frame, "state": np.array(["ok", "worn"])[y]})


def test_what_adapt_makes_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns with gaps and levels, calibrated probabilities; through the command line."""
    monkeypatch.setattr(
        run, "portfolio", lambda found, setting: [Choice("source_only", "none"), Choice("coral", "by domain")]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dazoo.adapt(table(80), table(60, 2.0, 1).drop(columns="state"), label="state", out=tmp_path / "m", say=None)
    done = CliRunner().invoke(app, ["export", str(tmp_path / "m"), "--onnx"])
    assert done.exit_code == 0, done.output
    model = dazoo.load(tmp_path / "m" / "model.safetensors")
    new = table(30, 2.0, 2).drop(columns="state")
    new.loc[0, "maker"] = "of a new maker"
    told = {p.key: json.loads(p.value) for p in onnx.load(tmp_path / "m" / "model.onnx").metadata_props if "." in p.key}
    out = model.predict(new)
    said = said_by(tmp_path / "m" / "model.onnx", feed_of(new, told["dazoo.columns"], {"maker"}))
    assert distance(said, out) <= 1e-5 and (said["label"] == out.labels.numpy()).all()
    assert told["dazoo.classes"] == ["ok", "worn"] and told["dazoo.encoder"] == "table"
    for arguments in (["export", str(tmp_path / "m" / "model.safetensors")], ["export", str(tmp_path), "--onnx"]):
        assert isinstance(CliRunner().invoke(app, arguments).exception, DazooError)


def test_what_has_no_form_in_onnx_says_so(tmp_path: Path) -> None:
    words = [f"{'tree' if i % 2 else 'sea'} number {i}" for i in range(40)]
    texts = Task.from_arrays(words, [i % 2 for i in range(40)], words[:20])
    refused = [
        (fitted("coral", texts), "encoder 'tfidf'.*numbers=True"),
        (fitted("source_only", task_of(), classifier=GaussianNB()), "EstimatorHead.*dazoo.load"),
        (fitted("tent", task_of(setting="source_free+stream"), recipe=replace(TINY, norm="batch")), "StreamPredictor"),
    ]
    for model, sentence in refused:
        with pytest.raises(DazooError, match=sentence):
            export_onnx(model, tmp_path / "m.onnx")
        assert not (tmp_path / "m.onnx").exists()
    behind = dazoo.export_onnx(refused[0][0], tmp_path / "m.onnx", numbers=True)
    assert behind.difference is not None
    numbers = refused[0][0].encoding(refused[0][0].schema.read(words[:4]))
    said = said_by(tmp_path / "m.onnx", {"x": numbers.numpy()})
    assert distance(said, refused[0][0].predict(words[:4])) <= 1e-5
    with pytest.raises(DazooError, match="no encoder"):
        export_onnx(fitted("coral", task_of()), tmp_path / "n.onnx", numbers=True)


def test_answers_that_differ_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dazoo.deploy.onnx.distance", lambda said, out: 0.1)
    with pytest.raises(DazooError, match=r"0\.1 away"):
        export_onnx(fitted("coral", task_of()), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_of_a_suite_has_no_names(tmp_path: Path) -> None:
    inner = fitted("coral", task_of(), classifier="logistic", transform=None).inner
    x = vectors(7)[0]
    export_onnx(inner, tmp_path / "m.onnx")
    assert distance(said_by(tmp_path / "m.onnx", {"x": x}), inner.predict(torch.from_numpy(x))) <= 1e-5
