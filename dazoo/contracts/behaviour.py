"""Promises of every method: it predicts, repeats itself, looks at nothing hidden, saves, and bears awkward data."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import re
import sys
import tempfile
from pathlib import Path

import torch

from dazoo.contracts.asking import unasked
from dazoo.contracts.awkward import awkward_inputs, awkward_task
from dazoo.contracts.failure import ContractFailure, difference, require
from dazoo.contracts.toys import default_fit, fit_toy, options_for, setting_of, settings_of, task_for, toy_task
from dazoo.core import portable
from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure, space
from dazoo.core.types import Predictor
from dazoo.data.domain import Domain
from dazoo.engine.fit import fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import Method

# as people train vectors, cut down to where the second step has seen what the first one did
HASTY = Recipe.named("frozen", steps=2, batch=16, bottleneck=8, few_steps=0)


def check_documented(cls: type[Method]) -> None:
    """Formula and evidence in the docstring, a paper with a link, a meaning for each hyper-parameter."""
    text = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")
    where = f"the docstring of the file of {cls.name}"
    require(bool(re.search(r"[=<>|^_(]", text)), f"{where} states no formula; write what is minimised or solved")
    require(len(text) > 150, f"{where} is {len(text)} characters long; say what the symbols and shapes are")
    require("Evidence:" in text, f"{where} has no line 'Evidence:' that names the tests which prove the formula")
    paper = cls.paper
    require(paper.url.startswith("https://"), f"the link of {cls.name}'s paper must start with https://: {paper.url!r}")
    require(bool(paper.title), f"the paper of {cls.name} has no title")
    require(1950 < paper.year < 2100, f"the paper of {cls.name} is from the year {paper.year}")
    for key, meta in space(cls).items():
        require(bool(meta.help), f"{cls.name}.{key} has no help; say in one line what it does")


def check_name(cls: type[Method]) -> None:
    """The name is the stem of the file."""
    stem = cls.__module__.rsplit(".", 1)[-1]
    require(
        cls.name == stem, f"the method is called {cls.name!r} but its file {stem!r}; one file, one method, one name"
    )


def check_fits(cls: type[Method]) -> None:
    """A fitted model gives one row of finite scores per target sample."""
    task = task_for(cls)
    out = _model(cls).predict(task.target.x)
    expected = (len(task.target.x), task.n_classes or 1)
    require(
        tuple(out.scores.shape) == expected,
        f"predict gives scores of shape {tuple(out.scores.shape)}; a row per sample and a column per class is "
        f"{expected}",
    )
    bad = int((~torch.isfinite(out.scores)).any(1).sum())
    require(bad == 0, f"predict gives NaN or infinite scores for {bad} of {len(out.scores)} samples")


def check_same_seed(cls: type[Method]) -> None:
    """Two fits with one seed are equal bit for bit, whatever the global random state is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        second = fit_toy(cls)
    found = difference(default_fit(cls).predictor, second.predictor)
    require(
        not found,
        f"two fits with the same seed are not the same model: {found}. Draw from ctx.gen (shallow methods) or with "
        "torch's functions inside losses, never from numpy.random, random or a clock, and keep nothing between fits",
    )


def check_hidden_labels(cls: type[Method]) -> None:
    """Other labels on the hidden part of the target give the same model, in every setting of classes."""
    for setting in settings_of(cls):
        task = toy_task(setting, regression="classes" not in cls.targets)
        first = default_fit(cls) if setting == setting_of(cls) else fit_toy(cls, task)
        assert task.target.y is not None
        few, rest, _ = task._target_rows()
        y = task.target.y.clone()
        rest = unasked(rest, first.info)
        y[rest] = y[rest].flip(0) if task.regression else (y[rest] + 1) % len(task.target.classes)
        other = task.change(target=dataclasses.replace(task.target, y=y))
        # the split itself may use labels where the setting shows some; hold it as it was
        seen_other = task.seen() if len(few) else other.seen()
        method = configure(cls, getattr(cls, "toy_hparams", {}))
        second = fit(method, seen_other, seed=0, options=options_for(cls))
        found = difference(first.predictor, second.predictor)
        require(
            not found,
            f"in the setting {setting} the model changes with target labels that it must not see: {found}. Everything "
            "a method may use is in Seen",
        )


def check_saves(cls: type[Method]) -> None:
    """A saved and loaded model, and a pickled one, predict the same."""
    task = task_for(cls)
    model = _model(cls)
    x = task.target.x[:7]
    expected = model.predict(x).scores
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        try:
            portable.save(model, path)
            loaded: Predictor = portable.load(path)
        except DazooError as error:
            raise ContractFailure(f"the fitted model cannot be saved: {error}") from error
        for how, copy in (("saved and loaded", loaded), ("pickled", pickle.loads(pickle.dumps(model)))):
            gap = float((copy.predict(x).scores - expected).abs().max())
            require(
                gap <= 1e-6,
                f"a {how} model predicts scores that differ by {gap:.2g}; everything prediction needs must be a field "
                "of the model (tensors, numbers, text), or a parameter or buffer of a part that build or setup adds",
            )


def check_awkward_data(cls: type[Method]) -> None:
    """Awkward data gives finite answers or one clear error."""
    for regression in (False, True):
        if ("values" if regression else "classes") in cls.targets:
            for label in awkward_inputs():
                check_awkward_input(cls, label, regression)


def check_awkward_input(cls: type[Method], label: str, regression: bool = False) -> None:
    """One of ``awkward_inputs`` gives finite answers or one clear error."""
    try:
        task = awkward_task(awkward_inputs()[label](), setting_of(cls), regression)
        model = fit_toy(cls, task, recipe=HASTY).predictor
        given = [model.predict(task.target.x), *([] if model.recorded is None else [model.recorded])]
    except DazooError as error:
        require(
            len(str(error)) > 20,
            f"on data with {label} the method stops with {str(error)!r}, which helps nobody; name the thing and the "
            "remedy",
        )
    except Exception as error:
        raise ContractFailure(
            f"data with {label} ends in {type(error).__name__}: {error}. Give a finite answer, or raise DazooError "
            "with one sentence that names the thing and the remedy"
        ) from error
    else:
        require(
            all(
                bool(torch.isfinite(out.scores).all()) and out.scores.shape == (len(task.target), task.n_classes or 1)
                for out in given
            ),
            f"data with {label} gives NaN or infinite scores; guard divisions and logarithms, or raise DazooError",
        )


def check_wrong_input(cls: type[Method]) -> None:
    """Wrong shapes, NaN and a single target sample are clear errors."""
    task = task_for(cls)
    model = _model(cls)
    bad = task.target.x[:4].clone()
    bad[0, 0] = float("nan")
    for what, x in (("five features instead of eight", task.target.x[:, :5]), ("a NaN", bad)):
        _must_refuse(f"predict on samples with {what}", lambda x=x: model.predict(x))  # type: ignore[misc]
    if task.setting.target != "pool":  # a stream may well begin with one sample
        return
    labels = task.target.y
    single = Domain("t", task.target.x[:1], None if labels is None else labels[:1], task.target.classes)
    _must_refuse("fit on a single target sample", lambda: fit_toy(cls, task.change(target=single)))


def _must_refuse(what: str, call: object) -> None:
    assert callable(call)
    try:
        call()
    except DazooError:
        return
    except Exception as error:
        raise ContractFailure(
            f"{what} ends in {type(error).__name__}: {error}; it must raise DazooError with one clear sentence"
        ) from error
    raise ContractFailure(f"{what} passes without a word; it must raise DazooError with one clear sentence")


def _model(cls: type[Method]) -> Predictor:
    return default_fit(cls).predictor
