"""Shallow methods with a few target labels and with values instead of classes, over the whole registry."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS, GradientMethod, ShallowMethod, create_method
from dazoo.shallow.classifiers import classifier
from tests import surf
from tests.toys import toy_task

FAMILIES = ("subspace", "transport")
SHALLOW = [
    name
    for name, cls in METHODS.items()
    if issubclass(cls, ShallowMethod) and not issubclass(cls, GradientMethod) and cls.family in FAMILIES
]
FEW = [n for n in SHALLOW if FEW_LABELS in METHODS.get(n).settings and "classes" in METHODS.get(n).targets]
VALUES = [n for n in SHALLOW if "values" in METHODS.get(n).targets and UNSUPERVISED in METHODS.get(n).settings]


@pytest.mark.parametrize("name", FEW)
def test_few_labels_are_learnt_from(name):
    """Other labels of the few samples give another model: none of the methods looks past them."""
    seen = toy_task(FEW_LABELS, shift=2.0).seen()
    assert seen.few is not None
    moved = dataclasses.replace(seen, few=dataclasses.replace(seen.few, y=(seen.few.y + 1) % 3))
    options = Options(classifier=classifier("1nn"))
    a, b = (fit(create_method(name), s, seed=0, options=options).predictor for s in (seen, moved))
    scores = [p.predict(torch.cat([seen.target.x, seen.few.x])).scores for p in (a, b)]
    assert all(bool(torch.isfinite(s).all()) for s in scores)
    assert not torch.equal(*scores)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("head", ["ridge", "knn_regression"])
def test_values_are_predicted_on_their_scale(name, head):
    """On a task without shift the error stays below the spread of the values."""
    task = toy_task(regression=True, shift=0.0, n=120)
    model = fit(create_method(name), task.seen(), seed=0, options=Options(classifier=classifier(head))).predictor
    values = model.predict(task.target.x).values
    assert values.shape == (120,)
    assert float((values - task.target.y).square().mean()) < float(task.target.y.var())


@pytest.mark.parametrize(("head", "expected", "within"), [("1nn", 31.4, 0.1), ("svm_rbf", 41.1, 0.3)])
def test_source_only_averages_the_published_baselines(data_root, head, expected, within):
    """The published SVM row is a Gaussian-kernel SVM with C = 10, which ``svm_rbf`` is."""
    assert abs(surf.average(data_root, "source_only", head) - expected) <= within
