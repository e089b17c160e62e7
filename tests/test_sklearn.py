"""``dazoo.sklearn``: scikit-learn's own checks, domains, pipelines and searches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dazoo
from dazoo.sklearn import DAClassifier, DARegressor


@parametrize_with_checks([DAClassifier(), DARegressor()])
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def shifted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes, source and target, samples of both mixed; labels of the target are -1."""
    rng = np.random.default_rng(0)
    y = np.array(["no", "yes"])[rng.integers(0, 2, 120)]
    x = rng.normal(size=(120, 3)) + 2.0 * (y == "yes")[:, None]
    domain = np.where(np.arange(120) % 3 == 0, -2, 1)
    x[domain < 0] = x[domain < 0] * [1.5, 0.7, 1.0] + 0.5
    return x, np.where(domain < 0, "hidden", y), domain


def test_domains_are_those_of_dazoo_fit() -> None:
    x, y, domain = shifted()
    model = DAClassifier("coral", hparams={"reg": 0.5}).fit(x, y, sample_domain=domain)
    assert list(model.classes_) == ["no", "yes"]
    task = dazoo.Task.from_arrays(x[domain > 0], y[domain > 0].tolist(), x[domain < 0])
    plain = dazoo.fit("coral", task, reg=0.5)
    assert np.allclose(model.predict_proba(x[domain < 0]), plain.predict(x[domain < 0]).probs, atol=1e-9)
    both = model.predict_proba(x, sample_domain=domain)
    assert np.allclose(both[domain > 0], plain.predict_source(x[domain > 0]).probs, atol=1e-9)
    assert np.allclose(both[domain < 0], model.predict_proba(x[domain < 0]), atol=1e-9)


@pytest.fixture(autouse=True)
def _without_routing() -> Iterator[None]:
    """As scikit-learn comes; skada, which other tests import, switches routing on for the whole process."""
    with sklearn.config_context(enable_metadata_routing=False):
        yield


def test_in_a_pipeline_and_in_a_search() -> None:
    x, y, domain = shifted()
    pipe = make_pipeline(StandardScaler(), DAClassifier("sa"))
    pipe.fit(x, y, daclassifier__sample_domain=domain)
    assert set(pipe.predict(x)) == {"no", "yes"}
    search = GridSearchCV(DAClassifier(), {"method": ["source_only", "coral"]}, cv=2)
    labelled = domain > 0
    search.fit(x[labelled], y[labelled])
    assert search.best_score_ > 0.8


@pytest.mark.parametrize(
    ("domain", "says"), [(np.zeros(120), "positive"), (-np.ones(120), "no source"), (np.ones(3), "each of 120")]
)
def test_domains_that_are_none(domain: np.ndarray, says: str) -> None:
    x, y, _ = shifted()
    with pytest.raises(ValueError, match=says):
        DAClassifier().fit(x, y, sample_domain=domain)
    with pytest.raises(ValueError, match="unknown method"):
        DAClassifier("corall").fit(x, np.repeat([0, 1], 60))
