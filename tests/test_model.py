"""A fitted model: what it remembers, what it takes, what it is never tested on, and files of every version."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import dazoo
from dazoo import DazooError, DazooWarning, Task
from dazoo.core.portable import Portable
from dazoo.engine.recipe import Recipe

OLD = Path(__file__).parent / "data"


def data(n: int = 60, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Separated classes: source samples, labels of both domains, target samples."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = rng.normal(size=(3, d)) * 3
    return centres[y] + rng.normal(size=(n, d)) * 0.5, y, centres[y] + rng.normal(size=(n, d)) * 0.5 + 0.3


def coin_tosses(few_per_class: int = 30) -> Task:
    rng = np.random.default_rng(1)
    return Task.from_arrays(
        rng.normal(size=(120, 3)),
        np.arange(120) % 2,
        rng.normal(size=(120, 3)),
        rng.integers(0, 2, 120),
        few_per_class=few_per_class,
    )


@pytest.mark.parametrize("method", ["target_oracle", "easyadapt"])
def test_shown_rows_are_never_tested_on(method: str, tmp_path: Path) -> None:
    task = coin_tosses()
    with pytest.warns(DazooWarning, match="target labels.*evaluate leaves out"):
        model = dazoo.fit(method, task, classifier="1nn")
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors")
    seen = model.seen_with_label(task.target.x)
    assert int(seen.sum()) == len(model.shown) > 40
    assert dazoo.evaluate(model, task) == dazoo.evaluate(again, task)
    assert dazoo.evaluate(model, task)["accuracy"] < 0.75  # 1-NN on its own labels would be right in most rows
    x, y = task.target.x, task.target.y
    assert y is not None
    copies = Task.from_arrays(x, np.arange(120) % 2, torch.cat([x, x[seen]]).float(), torch.cat([y, y[seen]]))
    assert dazoo.evaluate(model, copies)["accuracy"] == pytest.approx(dazoo.evaluate(model, task)["accuracy"])
    only = Task.from_arrays(x, np.arange(120) % 2, x[seen], y[seen])
    with pytest.raises(DazooError, match="nothing is left to test on"):
        dazoo.evaluate(again, only)


def test_a_setting_that_shows_no_label_is_told_too() -> None:
    with pytest.warns(DazooWarning, match="no target label is shown"):
        model = dazoo.fit("bnm", coin_tosses().change(setting="few_labels"), recipe=Recipe.named("frozen", steps=2))
    assert model.shown == () and model.report.settings["setting"] == "unsupervised"


def test_a_model_knows_its_classes_columns_and_settings(tmp_path: Path) -> None:
    xs, y, xt = data()
    names = np.array(["ant", "bee", "cat"])
    frame = pd.DataFrame(xs, columns=list("abcd"))
    task = Task.from_arrays(frame, names[y], pd.DataFrame(xt, columns=list("abcd"))[list("dbca")])
    assert torch.equal(task.target.x, torch.from_numpy(xt))
    model = dazoo.fit("coral", task)
    dazoo.save(model, tmp_path / "m.safetensors")
    again = dazoo.load(tmp_path / "m.safetensors")
    wanted = model.predict(xt)
    assert again.classes == ("ant", "bee", "cat") and (again.predict(xt).names == names[wanted.labels.numpy()]).all()
    mixed = pd.DataFrame(xt, columns=list("abcd"))[list("cabd")]
    assert torch.equal(again.predict(mixed).scores, wanted.scores)
    assert again.report == model.report and {"warnings", "curves", "findings", "versions"} <= set(again.report)
    assert again.report.settings["method"] == "coral" and again.report.settings["seed"] == 0
    with pytest.raises(DazooError, match="lacks the columns 'b'"):
        again.predict(mixed.drop(columns="b"))
    with pytest.warns(DazooWarning, match="'z' are not used"):
        assert torch.equal(again.predict(mixed.assign(z=1)).scores, wanted.scores)
    for line in (repr(model), repr(task)):
        assert "\n" not in line and len(line) < 200 and "3 classes" in line


def test_what_a_method_warned_about_reaches_the_caller_and_the_report() -> None:
    xs, y, xt = data()
    with pytest.warns(DazooWarning, match="converge"):
        model = dazoo.fit("ot_sinkhorn", Task.from_arrays(xs, y, xt), reg=1e-4)
    assert any("converge" in w for w in model.report.warnings)


def unit_change(kind: str, x: np.ndarray) -> np.ndarray:
    factor = np.array([1e6, 1, 1, 1])
    return {"scale": x * factor, "tiny": x / factor, "offset": x + 1e4, "one offset": x + 1e4 * (factor > 1)}[kind]


@pytest.mark.parametrize("kind", ["scale", "tiny", "offset", "one offset"])
@pytest.mark.parametrize("method", ["source_only", "coral"])
def test_units_of_raw_columns_do_not_decide(kind: str, method: str) -> None:
    xs, y, xt = data(seed=3)
    with pytest.warns(DazooWarning, match="zscore_within"):
        model = dazoo.fit(method, Task.from_arrays(unit_change(kind, xs), y, unit_change(kind, xt)))
    assert model.report.settings["transform"] == ["zscore_within"]
    assert (model.predict(unit_change(kind, xt)).labels.numpy() == y).mean() > 0.9
    assert (model.predict_source(unit_change(kind, xs)).labels.numpy() == y).mean() > 0.9


@pytest.mark.filterwarnings("ignore:logistic stopped:dazoo.core.errors.DazooWarning")  # SciPy 1.11's solver, far from 0
def test_comparable_features_stay_as_they_are_and_asked_transforms_are_followed() -> None:
    xs, y, xt = data()
    task = Task.from_arrays(xs, y, xt)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dazoo.fit("coral", task).preprocessing.names == ()
    for given in ("zscore", ["zscore_pooled", "unit_norm"], "zscore_source"):
        model = dazoo.fit("coral", task, transform=given)
        assert list(model.preprocessing.names) == ([given] if isinstance(given, str) else given)
    pooled = dazoo.fit("coral", task, transform="zscore_pooled").preprocessing
    both = pooled.of_target(torch.cat([task.sources[0].x, task.target.x]))
    assert torch.allclose(both.mean(0), torch.zeros(4).double()) and torch.allclose(both.std(0), torch.ones(4).double())
    with pytest.raises(DazooError, match="unknown transform"):
        dazoo.fit("coral", task, transform="zscor")
    with pytest.warns(DazooWarning, match="differ in scale"):
        dazoo.fit("coral", Task.from_arrays(unit_change("scale", xs), y, unit_change("scale", xt)), transform=None)
    with pytest.warns(DazooWarning, match="standard deviations apart|far from 0"):
        dazoo.fit("coral", Task.from_arrays(xs, y, xt + 100))


@pytest.mark.parametrize("method", ["coral", "source_only"])
def test_files_of_version_0_1_0_are_read(method: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(24) % 3
    centres = rng.normal(size=(3, 4)) * 3
    model = dazoo.load(OLD / f"{method}-0.1.0.safetensors")
    assert model.predict(centres[y] + rng.normal(size=(24, 4)) * 0.3).labels.tolist() == y.tolist()
    with pytest.raises(DazooError, match="no names of classes"):
        _ = model.predict(centres).names


def saved(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with safe_open(str(path), "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, dict(file.metadata())  # noqa: SIM118


SPECS = ["", "{", "[]", "3", "null", '{"a": 1}', '{"class": "os:system", "fields": {}}', '{"tensor": "t9"}',
         '{"class": "dazoo.core.types:Prediction", "fields": {}}', '{"value": 1}', '{"dtype": "load"}', "[" * 5000,
         '{"class": "dazoo.nothing:X", "fields": {}}', '{"class": "dazoo.engine.model:Model", "fields": {}}',
         '{"class": "dazoo.engine.model:Model", "fields": 3}', '{"class": 3, "fields": {}}']  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
@pytest.mark.parametrize("format", ["dazoo-1", "dazoo-2"])
def test_malformed_files_end_in_one_clear_error(spec: str, format: str, tmp_path: Path) -> None:
    tensors, meta = saved(OLD / "coral-0.1.0.safetensors")
    save_file(tensors, tmp_path / "m", {**meta, "format": format, "spec": spec})
    with pytest.raises(DazooError):
        dazoo.load(tmp_path / "m")


def test_newer_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    tensors, meta = saved(OLD / "coral-0.1.0.safetensors")
    save_file(tensors, tmp_path / "m", {**meta, "format": "dazoo-17"})
    with pytest.raises(DazooError, match=r"'dazoo-17', which is newer.*update"):
        dazoo.load(tmp_path / "m")
    save_file(tensors, tmp_path / "m")
    with pytest.raises(DazooError, match="not a dazoo model"):
        dazoo.load(tmp_path / "m")
    spec = json.loads(meta["spec"])
    spec["fields"]["unheard_of"] = {"value": 1}
    save_file(tensors, tmp_path / "m", {**meta, "spec": json.dumps(spec)})
    with pytest.raises(DazooError, match="unheard_of"):
        dazoo.load(tmp_path / "m")


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    xs, y, xt = data(n=12)
    path = tmp_path / "m.safetensors"
    dazoo.save(dazoo.fit("coral", Task.from_arrays(xs, y, xt)), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 25):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = dazoo.load(path)
        except DazooError:
            continue
        assert isinstance(found, Portable) and torch.isfinite(found.predict(xt).scores).all()
    with pytest.raises(DazooError, match="cannot write"):
        dazoo.save(dazoo.fit("coral", Task.from_arrays(xs, y, xt)), path / "inside")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = rng.integers(0, 60, (24, 8, 8, 3)).astype(np.uint8)
    x[y == 1, :4] += 150
    return x, y


def as_given(x: np.ndarray, how: str) -> Any:
    floats = {"unit": (x / 255).astype(np.float32), "double": x / 255, "255": x.astype(float), "int": x.astype(int)}
    first = np.moveaxis(x, -1, 1)
    more = {"bytes": x, "first": first, "first unit": first / 255, "tensor": torch.from_numpy(x) / 255}
    return (floats | more)[how]


@pytest.mark.parametrize("how", ["unit", "double", "255", "int", "first", "first unit", "tensor"])
def test_pictures_are_the_same_in_every_form(how: str) -> None:
    x, y = pictures()
    recipe = Recipe.named("digits", steps=3)
    given = as_given(x, how)
    model = dazoo.fit("source_only", Task.from_arrays(given, y, given), recipe=recipe, backbone="cnn")
    wanted = dazoo.fit("source_only", Task.from_arrays(x, y, x), recipe=recipe, backbone="cnn").predict(x).scores
    for later in (given, x, as_given(x, "unit"), as_given(x, "255"), as_given(x, "first")):
        assert torch.equal(model.predict(later).scores, wanted)


def test_grey_pictures_and_pictures_that_are_none() -> None:
    x, y = pictures()
    grey = Task.from_arrays(x[..., 0] / 255, y, x[..., 0] / 255, kind="image")
    assert grey.target.kind == "image" and torch.equal(grey.target.x[..., 0], torch.from_numpy(x[..., 0].copy()))
    for wrong, says in ((x / 127.5 - 1, "before any normalisation"), (np.zeros((24, 3, 9, 3)), "first or last")):
        with pytest.raises(DazooError, match=says):
            Task.from_arrays(wrong, y, wrong)


def test_whole_numbers_of_all_sizes_keep_their_precision(tmp_path: Path) -> None:
    x = (1_700_000_000 + np.arange(60) * 10).reshape(-1, 1)
    y = np.repeat(np.arange(6), 10)
    np.savez(tmp_path / "a.npz", a_x=x, a_y=y, b_x=x, b_y=y)
    for task in (Task.from_arrays(x, y, x), dazoo.load_task("npz/a->b", path=str(tmp_path / "a.npz"))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DazooWarning)
            for transform in ("auto", None):
                model = dazoo.fit("source_only", task, classifier="1nn", transform=transform)
                assert (model.predict(x).labels.numpy() == y).all()


def test_a_table_knows_its_columns(tmp_path: Path) -> None:
    xs, y, xt = data()
    frame = pd.DataFrame(np.concatenate([xs, xt]), columns=list("abcd"))
    frame.assign(label=np.tile(y, 2), domain=np.repeat(["s", "t"], 60)).to_csv(tmp_path / "t.csv", index=False)
    model = dazoo.fit("coral", dazoo.load_task("table/s->t", path=str(tmp_path / "t.csv")))
    a = model.predict(frame[list("dcba")]).scores
    assert torch.equal(a, model.predict(frame).scores)
