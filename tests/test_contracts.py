"""What every method promises, checked over the whole registry: a new file is covered without an edit here."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import sys

import numpy as np
import pytest
import torch

from dazoo.core import hparam, portable
from dazoo.core.errors import DazooError
from dazoo.core.setting import UNSUPERVISED
from dazoo.data.domain import Domain
from dazoo.data.task import Task
from dazoo.engine.fit import fit, fit_group
from dazoo.engine.learner import Alone
from dazoo.engine.train import Loop
from dazoo.methods.base import METHODS, GradientMethod, Progress, create_method
from tests.toys import TINY, fit_toy, is_gradient, options_for, same, setting_of, task_for, toy_task

NAMES = METHODS.names()
GRADIENT = [n for n in NAMES if is_gradient(n)]
KNOBS = [(n, k) for n in NAMES for k, meta in hparam.space(METHODS.get(n)).items() if meta.searchable]
ADAPTING = [
    n for n in GRADIENT if UNSUPERVISED in METHODS.get(n).settings and "trade_off" in hparam.space(METHODS.get(n))
]


@pytest.mark.parametrize("name", NAMES)
def test_fits_and_predicts(name):
    task = task_for(METHODS.get(name))
    out = fit_toy(name, task).predictor.predict(task.hidden().x)
    assert out.scores.shape == (len(task.hidden().x), task.n_classes or 1)
    assert bool(torch.isfinite(out.scores).all())


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bits(name):
    torch.manual_seed(1)
    first = fit_toy(name, seed=3)
    torch.manual_seed(2)
    assert same(first, fit_toy(name, seed=3))


@pytest.mark.parametrize("name", NAMES)
def test_hidden_labels_change_nothing(name):
    task = task_for(METHODS.get(name))
    few, rest, _ = task._target_rows()
    y = task.target.y.clone()
    y[rest] = y[rest].flip(0) if task.regression else (y[rest] + 1) % task.n_classes
    other = task.change(target=dataclasses.replace(task.target, y=y))
    # the split itself may use labels where the setting shows some; hold it as it was
    seen, seen_other = task.seen(), dataclasses.replace(task.seen())
    if not len(few):
        seen_other = other.seen()
    options = options_for(name)
    assert same(
        fit(create_method(name), seen, seed=0, options=options),
        fit(create_method(name), seen_other, seed=0, options=options),
    )


@pytest.mark.parametrize(("name", "knob"), KNOBS)
def test_turning_a_knob_changes_the_model(name, knob):
    """Every searchable hyper-parameter matters: some other value of it gives another model."""
    meta = hparam.space(METHODS.get(name))[knob]
    values = [v for v in (meta.choices or (meta.low, meta.high)) if v != meta.default]
    if isinstance(meta.default, int) and meta.choices is None:
        values = [round(v) for v in values]
    needs = {k: v for k, v in getattr(METHODS.get(name), "knob_needs", {}).get(knob, {}).items()}
    base = fit_toy(name, **needs)
    assert any(not same(base, fit_toy(name, **{**needs, knob: v})) for v in values), f"{name}.{knob} changes nothing"


@pytest.mark.parametrize("name", ADAPTING)
def test_trade_off_zero_is_source_only(name):
    """With adaptation weights 0 the shared parts are source-only's, bit for bit; with the defaults they are not."""
    cls = METHODS.get(name)
    task = task_for(cls)
    zero = {k: 0.0 for k in hparam.space(cls) if k == "trade_off" or k.endswith("_weight")}
    reference = fit_toy("source_only", task).predictor
    off, on = fit_toy(name, task, **zero, **(cls.neutral or {})).predictor, fit_toy(name, task).predictor
    shared = [k for k in reference.state if k.startswith(("body.", "head.")) and "num_batches" not in k]
    assert shared
    if cls.start is None and cls.neutral is not None:
        different = [k for k in shared if not torch.equal(reference.state[k], off.state[k])]
        assert not different, f"{name} with weights 0 differs from source_only in {different}"
    assert any(not torch.equal(reference.state[k], on.state[k]) for k in shared)


@pytest.mark.parametrize("name", GRADIENT)
def test_every_term_reaches_a_part_it_moves(name):
    """No inert term: each named loss has a non-zero gradient on a parameter that its phase updates."""
    captured = {}

    class Watching(Loop):
        def _gradient_step(self, phase, moving, batch, t):
            assert isinstance(self.learner, Alone)
            if t.step >= self.steps // 2:
                leaves = [self.learner.parameters[n] for n in moving]
                later = Progress(t.fraction, t.step, t.steps, max(t.ramp, 0.5))
                for term, value in self.learner.terms(phase, batch, later).items():
                    if value.requires_grad:
                        grads = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
                        size = sum(float(g.abs().sum()) for g in grads if g is not None)
                        key = (phase.losses, term)
                        captured[key] = max(captured.get(key, 0.0), size)
                    else:
                        captured.setdefault((phase.losses, term), 0.0)
            return super()._gradient_step(phase, moving, batch, t)

    import dazoo.engine.fit as engine

    before = engine.Loop
    engine.Loop = Watching
    try:
        # e.g. a confidence threshold that a toy run of a few steps can reach
        fit_toy(name, **getattr(METHODS.get(name), "term_needs", {}))
    finally:
        engine.Loop = before
    assert captured
    inert = [term for term, size in captured.items() if not size > 0]
    assert not inert, f"{name}: no gradient from {inert}"


@pytest.mark.parametrize("name", [n for n in GRADIENT if METHODS.get(n).stackable])
def test_stacked_equals_alone(name):
    cls = METHODS.get(name)
    task = task_for(cls)
    scalars = [k for k, m in hparam.space(cls).items() if not m.structural and m.searchable]
    settings = [{}, {k: 0.7 * getattr(create_method(name), k) for k in scalars[:1]}]
    methods = [create_method(name, **s) for s in settings]
    options = options_for(name)
    together = fit_group(methods, task.seen(), seeds=[0, 1], options=options)
    for i, method in enumerate(methods):
        alone = fit(method, task.seen(), seed=i, options=options).predictor
        for key, value in alone.state.items():
            torch.testing.assert_close(together[i].predictor.state[key], value, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_sampled_settings_run(name):
    cls = METHODS.get(name)
    task = task_for(cls)
    for seed in range(5):
        fit_toy(name, task, **hparam.sample(cls, seed))


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name):
    cls = METHODS.get(name)
    text = inspect.getdoc(sys.modules[cls.__module__]) or ""
    assert re.search(r"[=<>|^_(]", text) and len(text) > 150, f"{name}: no formula in the docstring"
    assert "Evidence:" in text, f"{name}: the docstring names no evidence"
    assert cls.paper.url.startswith("https://") and cls.paper.title and 1950 < cls.paper.year < 2027
    for key, meta in hparam.space(cls).items():
        assert meta.help, f"{name}.{key} has no help"


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_file_stem(name):
    assert METHODS.get(name).__module__.rsplit(".", 1)[-1] == name == METHODS.get(name).name


@pytest.mark.parametrize("name", NAMES)
def test_saves_and_loads(name, tmp_path):
    task = task_for(METHODS.get(name))
    model = fit_toy(name, task).predictor
    x = task.hidden().x[:7]
    expected = model.predict(x).scores
    portable.save(model, tmp_path / "model.safetensors")
    torch.testing.assert_close(
        portable.load(tmp_path / "model.safetensors").predict(x).scores, expected, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(pickle.loads(pickle.dumps(model)).predict(x).scores, expected, rtol=0, atol=1e-6)


def _bad_tasks():
    task = toy_task(n=30)
    x, y = task.sources[0].x.numpy(), task.sources[0].y.numpy()
    xt = task.target.x.numpy()
    yt = task.target.y.numpy()
    constant = np.repeat(xt[:1], len(xt), 0)
    yield "duplicates", lambda: Task.from_arrays(np.repeat(x[:3], 10, 0), np.repeat(y[:3], 10), constant, yt)
    flat = x.copy()
    flat[:, 0] = 1.0
    yield "constant feature", lambda: Task.from_arrays(flat, y, np.concatenate([flat[:, :1], xt[:, 1:]], 1), yt)
    yield "class missing in target", lambda: Task.from_arrays(x, y, xt[yt < 2], yt[yt < 2])
    yield "tiny source", lambda: Task.from_arrays(x[:4], y[:4], xt, yt)
    yield "huge scale", lambda: Task.from_arrays(1e3 * x, y, 1e3 * xt, yt)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if setting_of(METHODS.get(n)) is UNSUPERVISED and "classes" in METHODS.get(n).targets]
)
def test_awkward_data_gives_finite_answers_or_one_clear_error(name):
    for label, make in _bad_tasks():
        task = make()
        try:
            out = fit_toy(name, task).predictor.predict(task.target.x)
        except DazooError as error:
            assert len(str(error)) > 20, label
        else:
            assert bool(torch.isfinite(out.scores).all()), label


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_and_single_samples_are_clear_errors(name):
    task = task_for(METHODS.get(name))
    model = fit_toy(name, task).predictor
    with pytest.raises(DazooError):
        model.predict(task.target.x[:, :5])
    bad = task.target.x[:4].clone()
    bad[0, 0] = float("nan")
    with pytest.raises(DazooError):
        model.predict(bad)
    with pytest.raises(DazooError):
        single = Domain("t", task.target.x[:1], task.target.y[:1], task.target.classes)
        fit_toy(name, task.change(target=single))


def test_recipe_is_small_enough_to_stay_quick():
    assert TINY.steps <= 20


def test_registry_is_whole():
    assert len(NAMES) == len(set(NAMES)) >= 16
    assert not METHODS.broken
    assert all(isinstance(METHODS.get(n), type) for n in NAMES)
    assert issubclass(METHODS.get("source_only"), GradientMethod)
