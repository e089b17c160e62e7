"""Sizes, scales and devices on which computations used to break: an answer, or one clear error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dazoo
from dazoo import DazooError, Task
from dazoo.contracts.awkward import arrays, awkward_task
from dazoo.contracts.toys import is_gradient, setting_of
from dazoo.core.hparam import configure
from dazoo.engine.device import require_device
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.engine.train import _split
from dazoo.engine.trouble import explained
from dazoo.methods.base import METHODS, Batch
from dazoo.ops.linalg.blas import cholesky, cholesky_solve
from dazoo.ops.linalg.linear import RidgeFit, fix_signs
from dazoo.ops.linalg.spectral import leading_eigenvectors
from dazoo.shallow.classifiers import classifier

GRADIENT = [name for name in METHODS.names() if is_gradient(METHODS.get(name))]


def short(**fields):
    return Recipe.named("frozen", **{"steps": 2, "batch": 16, "bottleneck": 8, "few_steps": 0, **fields})


def toy(cls):
    return awkward_task(arrays(), setting_of(cls), "classes" not in cls.targets)


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("name", GRADIENT)
def test_batches_of_one_train_or_are_refused(name, norm):
    cls = METHODS.get(name)
    seen = toy(cls).seen()
    try:
        model = fit(configure(cls, {}), seen, options=Options(recipe=short(batch=1, norm=norm))).predictor
    except DazooError as error:
        assert any(word in str(error) for word in ("batch", "rows", "finite"))
        return
    assert bool(torch.isfinite(model.predict(seen.target.x).scores).all())


def test_batch_normalisation_of_one_sample_names_the_remedy():
    with pytest.raises(DazooError, match=r"batch of one sample.*at least 2.*'layer'"):
        fit(configure(METHODS.get("dann"), {}), awkward_task(arrays()).seen(), options=Options(recipe=short(batch=1)))


@pytest.mark.parametrize("fields", [{"batch": 8, "accumulate": 8}, {"batch": 3, "accumulate": 2}, {"batch": 25}])
@pytest.mark.parametrize("name", ["source_only", "dann", "shot", "fine_tune", "m3sda"])
def test_micro_batches_and_remainders_of_one_train(name, fields):
    cls = METHODS.get(name)
    seen = toy(cls).seen()
    model = fit(configure(cls, {}), seen, options=Options(recipe=short(**fields))).predictor
    assert bool(torch.isfinite(model.predict(seen.target.x).scores).all())


@pytest.mark.parametrize("rows", range(2, 12))
def test_no_micro_batch_holds_a_single_sample(rows):
    none = torch.empty(0)
    whole = Batch(torch.arange(rows)[:, None], torch.arange(rows), none, none, none, none)
    for pieces in range(1, 16):
        cut = _split(whole, pieces)
        assert min(len(piece.xs) for piece in cut) >= 2 and len(cut) <= pieces
        assert torch.equal(torch.cat([piece.ys for piece in cut]), whole.ys)


# -- no rows, no features ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["source_only", "coral", "ot_emd", "em_prior", "dann", "mdd", "adabn"])
@pytest.mark.parametrize("regression", [False, True])
def test_no_rows_give_no_scores(name, regression):
    cls = METHODS.get(name)
    if ("values" if regression else "classes") not in cls.targets:
        return
    task = awkward_task(arrays(), setting_of(cls), regression)
    model = fit(configure(cls, {}), task.seen(), options=Options(recipe=short())).predictor
    for call in (model.predict, model.predict_source):
        found = call(task.target.x[:0])
        assert found.scores.shape == (0, task.n_classes or 1)
        assert found.features is None or found.features.shape == (0, *call(task.target.x[:2]).features.shape[1:])
    with pytest.raises(DazooError):
        model.predict(task.target.x[:0, :2])


@pytest.mark.parametrize("name", ["1nn", "logistic", "svm", "svm_rbf", "ridge"])
def test_no_rows_give_no_scores_with_any_classifier(name):
    data = arrays()
    task = Task.from_arrays(data.xs, data.ys, data.xt)
    assert dazoo.fit("coral", task, classifier=name).predict(data.xt[:0]).scores.shape == (0, 3)


def test_samples_without_features_are_refused_at_the_door():
    data = arrays().both(lambda x: x[:, :0])
    with pytest.raises(DazooError, match="feature"):
        Task.from_arrays(data.xs, data.ys, data.xt)


def test_algebra_bears_no_features():
    empty = torch.zeros(0, 0, dtype=torch.float64)
    assert fix_signs(empty).shape == cholesky(empty).shape == (0, 0)
    assert cholesky_solve(empty, torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 2)
    y = torch.arange(4.0, dtype=torch.float64)[:, None]
    weight, bias = RidgeFit(torch.zeros(4, 0, dtype=torch.float64), 1.0).fit(y)
    assert weight.shape == (0, 1) and float(bias) == 1.5  # nothing but the mean is left


# -- scales ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-150, 1e-40, 1e38, 1e150])
@pytest.mark.parametrize("name", ["source_only", "dann", "shot"])
def test_features_beyond_single_precision_are_refused_by_networks(name, scale):
    data = arrays().both(lambda x: x * scale)
    cls = METHODS.get(name)
    with pytest.raises(DazooError, match="single precision"):
        fit(configure(cls, {}), awkward_task(data).seen(), options=Options(recipe=short()))


def test_a_target_beyond_single_precision_is_refused_too():
    data = arrays()
    task = Task.from_arrays(data.xs, data.ys, data.xt * 1e60)
    with pytest.raises(DazooError, match="single precision"):
        fit(configure(METHODS.get("source_only"), {}), task.seen(), options=Options(recipe=short()))


def test_a_decomposition_that_fails_names_the_method_and_the_scale():
    data = arrays().both(lambda x: x * 1e150)
    with pytest.raises(DazooError, match=r"'ot_linear'.*reach .*e\+150"):
        fit(configure(METHODS.get("ot_linear"), {}), awkward_task(data).seen())


@pytest.mark.parametrize("d", [3, 40])
def test_eigenvectors_of_a_matrix_that_is_not_finite_are_an_error_that_is_understood(d):
    a = torch.eye(d, dtype=torch.float64)
    a[0, 1] = a[1, 0] = float("inf")
    with pytest.raises(torch.linalg.LinAlgError, match="NaN or infinite"):
        leading_eigenvectors(a, 2)
    with pytest.raises(DazooError, match=r"'mine'.*standardise"), explained("mine", awkward_task(arrays()).seen()):
        leading_eigenvectors(a, 2)


def test_other_errors_of_a_method_stay_what_they_are():
    with pytest.raises(ValueError, match="a mistake of the author"), explained("x", awkward_task(arrays()).seen()):
        raise ValueError("a mistake of the author")


@pytest.mark.parametrize("which", ["svm", "dasvm"])
def test_a_support_vector_machine_on_a_huge_column_stops_and_says_so(which):
    data = arrays().both(lambda x: x * np.r_[1e7, np.ones(x.shape[1] - 1)])
    seen = awkward_task(data).seen()
    method = METHODS.get("dasvm" if which == "dasvm" else "source_only")
    options = Options(classifier=classifier("svm"))
    result = fit(configure(method, {}), seen, options=options)
    assert any("stopped after" in w for w in result.warnings)
    assert bool(torch.isfinite(result.predictor.predict(seen.target.x).scores).all())


# -- devices -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["banana", "mps", "cuda:x", "cuda:99", "CUDA", "", "cpu:0x"])
def test_devices_that_are_not_there_are_clear_errors(name):
    data = arrays()
    task = Task.from_arrays(data.xs, data.ys, data.xt)
    for call in (lambda: dazoo.fit("dann", task, device=name), lambda: dazoo.fit("coral", task, device=name)):
        with pytest.raises(DazooError, match="device"):
            call()


@pytest.mark.parametrize(
    "name, answer", [("cuda", "cuda"), ("cuda:1", "cuda:1"), ("auto", "cuda"), ("cuda:2", "cuda:1")]
)
def test_devices_that_are_there_are_taken(monkeypatch, name, answer):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if name == "cuda:2":
        with pytest.raises(DazooError, match=answer):  # the last that is there
            require_device(name)
    else:
        assert require_device(name) == answer


def test_commands_check_devices_alike(tmp_path):
    from typer.testing import CliRunner

    from dazoo.cli.commands import app

    (tmp_path / "s.yaml").write_text("dataset: digits\ntasks: [upright->rotated]\nmethods: [source_only]\n")
    found = CliRunner().invoke(app, ["run", str(tmp_path / "s.yaml"), "--device", "cuda:99"])
    assert isinstance(found.exception, DazooError) and "cuda:99" in str(found.exception)
