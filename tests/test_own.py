"""Estimators and networks of one's own: any shallow method ends in an estimator, any gradient method has a module as
its body. What of them travels in a model file: test_own_saved.py."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

import dazoo
from dazoo import DazooError, Task
from dazoo.contracts.awkward import arrays, awkward_task
from dazoo.contracts.toys import is_gradient, setting_of
from dazoo.core.hparam import configure
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, ShallowMethod
from dazoo.methods.estimators import finisher

SHALLOW = [
    n for n, cls in METHODS.items() if issubclass(cls, ShallowMethod) and (not is_gradient(cls) or n == "source_only")
]
# one module cannot take the samples of two feature spaces
GRADIENT = [n for n in METHODS.names() if is_gradient(METHODS.get(n)) and "same" in METHODS.get(n).handles.spaces]
ESTIMATORS = {
    "forest": lambda: RandomForestClassifier(5),
    "bayes": GaussianNB,
    "neighbours": lambda: KNeighborsClassifier(3),
    "decision values": RidgeClassifier,
    "pairs of classes": lambda: SVC(decision_function_shape="ovo"),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "search": lambda: GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 3]}, cv=2),
}


@pytest.fixture
def task():
    data = arrays()
    return Task.from_arrays(data.xs, data.ys, data.xt, data.yt)


class Neither:
    """An estimator that scikit-learn knows nothing of: the nearest class mean."""

    def fit(self, x, y):
        self.labels = np.unique(y)
        self.means = np.stack([x[y == c].mean(0) for c in self.labels])

    def predict(self, x):
        return self.labels[((x[:, None] - self.means) ** 2).sum(2).argmin(1)]


@pytest.mark.parametrize("method", ["source_only", "coral", "kmm", "ot_emd"])
@pytest.mark.parametrize("which", ESTIMATORS)
def test_estimators_finish_shallow_methods(task, method, which):
    model = dazoo.fit(method, task, classifier=ESTIMATORS[which]())
    found = model.predict(task.target.x)
    assert found.scores.shape == (24, 3) and bool(torch.isfinite(found.scores).all())
    assert dazoo.evaluate(model, task)["accuracy"] > 0.8


@pytest.mark.parametrize("name", SHALLOW)
def test_every_shallow_method_ends_in_an_estimator(name):
    cls = METHODS.get(name)
    regression = "classes" not in cls.targets
    estimator = LinearRegression() if regression else GaussianNB()
    task = awkward_task(arrays(), setting_of(cls), regression)
    model = fit(configure(cls, {}), task.seen(), options=Options(classifier=finisher(estimator))).predictor
    assert bool(torch.isfinite(model.predict(task.target.x).scores).all())


def test_an_object_with_fit_and_predict_will_do(task):
    model = dazoo.fit("source_only", task, classifier=Neither())
    assert dazoo.evaluate(model, task)["accuracy"] > 0.9


def test_scores_are_those_of_the_estimator(task):
    data = arrays()
    own = LogisticRegression().fit(data.xs, data.ys)
    model = dazoo.fit("source_only", task, classifier=LogisticRegression())
    np.testing.assert_allclose(model.predict(data.xt).probs.numpy(), own.predict_proba(data.xt), atol=1e-9)


@pytest.mark.parametrize("pipeline", [False, True])
def test_weights_reach_the_estimator(pipeline):
    data = arrays(classes=2)
    z, y = torch.from_numpy(data.xs), torch.from_numpy(data.ys)
    weights = torch.linspace(0.1, 3.0, len(z), dtype=torch.float64)
    estimator = (
        make_pipeline(StandardScaler(with_std=False), LogisticRegression()) if pipeline else LogisticRegression()
    )
    plain = LogisticRegression().fit(
        data.xs - (data.xs.mean(0) if pipeline else 0), data.ys, sample_weight=(weights / weights.mean()).numpy()
    )
    head = finisher(estimator).fit(z, y, 2, weights)
    at = data.xt - (data.xs.mean(0) if pipeline else 0)
    np.testing.assert_allclose(head(torch.from_numpy(data.xt)).exp().numpy(), plain.predict_proba(at), atol=1e-6)


def test_without_sample_weight_samples_of_weight_zero_play_no_part():
    data = arrays(classes=2)
    z, y = torch.from_numpy(data.xs), torch.from_numpy(data.ys.copy())
    wrong = torch.arange(len(z)) >= 12
    y[wrong] = 1 - y[wrong]
    head = finisher(KNeighborsClassifier(1)).fit(z, y, 2, (~wrong).double(), torch.Generator().manual_seed(0))
    assert torch.equal(head(z).argmax(1), torch.from_numpy(data.ys))


def test_classes_that_were_not_fitted_come_last():
    data = arrays(classes=2)
    head = finisher(Perceptron()).fit(torch.from_numpy(data.xs), 2 * torch.from_numpy(data.ys), 4)
    scores = head(torch.from_numpy(data.xt))
    assert scores.shape == (24, 4) and set(scores.argmax(1).tolist()) == {0, 2}
    assert bool((scores[:, [1, 3]] < scores[:, [0, 2]].amax(1, keepdim=True)).all())


def test_random_estimators_repeat_themselves_and_the_given_one_is_left_alone(task):
    forest = RandomForestClassifier(3)
    first, second = (dazoo.fit("coral", task, classifier=forest, seed=4).predict(task.target.x).scores for _ in "ab")
    assert torch.equal(first, second)
    assert not hasattr(forest, "classes_") and forest.random_state is None


def test_regression_takes_regressors_and_nothing_else():
    data = arrays()
    task = awkward_task(data, regression=True)
    assert dazoo.fit("coral", task, classifier=RandomForestRegressor(3)).predict(data.xt).values.shape == (24,)
    with pytest.raises(DazooError, match="RandomForestClassifier predicts classes"):
        dazoo.fit("coral", task, classifier=RandomForestClassifier(3))
    with pytest.raises(DazooError, match="LinearRegression predicts values"):
        dazoo.fit("coral", awkward_task(data), classifier=LinearRegression())


class Broken:
    def fit(self, x, y):
        raise RuntimeError("no luck")

    def predict(self, x):
        return x


@pytest.mark.parametrize(
    ("method", "wrong", "said"),
    [
        ("coral", {"classifier": RandomForestClassifier}, "is a class"),
        ("coral", {"classifier": nn.Linear(5, 3)}, "backbone="),
        ("coral", {"classifier": 7}, "not int"),
        ("coral", {"classifier": Broken()}, "Broken could not be fitted: RuntimeError: no luck"),
        ("coral", {"backbone": nn.Linear(5, 3)}, "no network"),
        ("dann", {"classifier": GaussianNB()}, "no classifier"),
        ("dann", {"backbone": GaussianNB()}, "classifier="),
        ("dann", {"backbone": nn.Linear}, "is a class"),
        ("dann", {"backbone": nn.Linear(4, 3)}, "fails on two samples of shape"),
        ("dann", {"backbone": nn.LSTM(5, 3)}, "into tuple"),
        ("dann", {"backbone": nn.Flatten(0)}, "row per sample"),
    ],
)
def test_what_cannot_be_a_classifier_or_backbone_is_refused(task, method, wrong, said):
    with pytest.raises(DazooError, match=said):
        dazoo.fit(method, task, **wrong)


# -- networks ----------------------------------------------------------------------------------------------------------


def recipe(**fields):
    return Recipe.named("frozen", **{"steps": 2, "batch": 8, "bottleneck": 8, "few_steps": 0, **fields})


def body():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Unflatten(1, (3, 4)))


@pytest.mark.parametrize("name", GRADIENT)
def test_every_gradient_method_trains_a_module(name):
    cls = METHODS.get(name)
    task = awkward_task(arrays(), setting_of(cls), "classes" not in cls.targets)
    module = body()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = fit(configure(cls, {}), task.seen(), options=Options(recipe=recipe(), backbone=module)).predictor
    scores = model.predict(task.target.x).scores
    assert bool(torch.isfinite(scores).all())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())  # it is copied
    torch.testing.assert_close(pickle.loads(pickle.dumps(model)).predict(task.target.x).scores, scores)


def test_a_module_starts_with_its_weights_and_sees_the_samples_as_they_are(task):
    module = nn.Linear(5, 7, bias=False)
    model = dazoo.fit("source_only", task, backbone=module, recipe=recipe(lr=1e-12, bottleneck=0))
    found = model.predict(task.target.x)
    torch.testing.assert_close(found.features, module(task.target.x.float()).detach())


def test_a_module_learns(task):
    model = dazoo.fit("dann", task, backbone=nn.Sequential(nn.Linear(5, 16), nn.ReLU()), recipe=recipe(steps=100))
    assert dazoo.evaluate(model, task)["accuracy"] > 0.9


def test_modules_on_pictures_and_series():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    pictures = rng.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append((tuple(x.shape[1:]), float(x.min()), float(x.max())))
            return x.mean((2, 3))

    task = Task.from_arrays(pictures, y, pictures, kind="image")
    assert dazoo.fit("source_only", task, backbone=Watching(), recipe=recipe()).predict(pictures).scores.shape == (
        12,
        2,
    )
    assert all(shape == (3, 8, 8) and low >= -1.001 and high <= 1.001 for shape, low, high in seen)
    series = rng.normal(size=(12, 2, 9))
    net = nn.Conv1d(2, 4, 3)
    model = dazoo.fit("dann", Task.from_arrays(series, y, series, kind="series"), backbone=net, recipe=recipe())
    assert model.predict(series).scores.shape == (12, 2)
