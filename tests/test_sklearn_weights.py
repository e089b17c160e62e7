"""``dazoo.sklearn``: weights of source samples as repeated rows, several sources, samples that are no numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.multioutput import MultiOutputRegressor

import dazoo
from dazoo.sklearn import DAClassifier, DARegressor
from dazoo.sklearn.given import MOST_REPEATS, repeats


def values() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A linear rule with a shift of the samples; values of the target are missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 3))
    domain = np.where(np.arange(90) % 3 == 0, -1, 1)
    x[domain < 0] += 1.0
    y = x @ np.array([1.0, -2.0, 0.5]) + 3
    return x, np.where(domain < 0, np.nan, y), domain


def test_a_regressor_is_dazoo_fit_and_looks_at_no_value_of_the_target() -> None:
    x, y, domain = values()
    made = DARegressor("ot_linear", preprocessing=None).fit(x, y, sample_domain=domain)
    source = domain > 0
    task = dazoo.Task.from_arrays(x[source], y[source], x[~source], targets="values")
    plain = dazoo.fit("ot_linear", task, transform=None)
    assert np.allclose(made.predict(x[~source]), plain.predict(x[~source]).values, atol=1e-9)
    assert made.score(x, y, sample_domain=domain) > 0.9
    both = made.predict(x, sample_domain=domain)
    assert np.allclose(both[source], plain.predict_source(x[source]).values, atol=1e-9)


def test_weights_are_repeated_rows_for_any_method() -> None:
    x, y, domain = values()
    weight = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    again = np.repeat(np.arange(len(x)), np.where(domain < 0, 1, weight.astype(int)))
    for method in ("coral", "ot_emd", "tca"):
        weighted = DARegressor(method).fit(x, y, sample_domain=domain, sample_weight=weight)
        repeated = DARegressor(method).fit(x[again], y[again], sample_domain=domain[again])
        assert np.allclose(weighted.predict(x), repeated.predict(x), rtol=1e-6), method
        assert not np.allclose(weighted.predict(x), DARegressor(method).fit(x, y, domain).predict(x), rtol=1e-6)


def test_fractions_are_kept_per_class_and_on_average() -> None:
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [50, 30, 20])
    weights = rng.uniform(0.1, 3.0, 100)
    scaled = weights * 100 / weights.sum()
    drawn = np.array([repeats(weights, y, np.random.RandomState(i)) for i in range(400)])
    assert (np.abs(drawn - scaled) < 1).all() and (np.abs(drawn.mean(0) - scaled) < 0.15).all()
    shares = np.stack([drawn[:, y == c].sum(1) for c in range(3)], 1) - [scaled[y == c].sum() for c in range(3)]
    assert np.abs(shares).max() < 1 + 1e-9
    assert (repeats(np.full(100, 0.25), y, rng) == 1).all()
    assert repeats(np.full(100, MOST_REPEATS + 1.0), y, rng).sum() == 100
    with pytest.raises(ValueError, match="all entries of sample_weight are zero"):
        repeats(np.zeros(3), y[:3], rng)


def test_sources_are_told_apart_by_methods_that_need_it() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    x = rng.normal(size=(120, 3)) + 3.0 * y[:, None]
    domain = np.array([1, 3, -2, 7])[np.arange(120) % 4]
    made = DAClassifier("source_vote", classifier="ridge").fit(x, y, sample_domain=domain)
    assert made.model_.report["settings"]["setting"] == "multi_source"
    assert made.predict_proba(x, sample_domain=domain).shape == (120, 2)
    with pytest.raises(ValueError, match=r"other sources than those of the fit, \[1, 3, 7\]"):
        made.predict(x, sample_domain=np.full(120, 2))
    assert DAClassifier("coral").fit(x, y, domain).model_.report["settings"]["setting"] == "unsupervised"


def test_texts_frames_and_series() -> None:
    y = np.array([1, 0, 1, 0] * 8)
    texts = ["good film", "bad film", "great movie", "awful movie"] * 8
    made = DAClassifier("coral", encoder="tfidf").fit(texts, y)
    assert list(made.predict(["great film", "awful"])) == [1, 0]
    frame = pd.DataFrame({"a": ["p", "q", None, "q"] * 8, "b": 3.0 * y + np.arange(32) / 32})
    made = DAClassifier("coral").fit(frame, y, sample_domain=np.where(np.arange(32) < 20, 1, -1))
    assert list(made.predict(frame[["b", "a"]])) == list(y) and list(made.feature_names_in_) == ["a", "b"]
    series = np.random.default_rng(0).normal(size=(32, 2, 20)) + 2.0 * y[:, None, None]
    assert DAClassifier("sa").fit(series, y).score(series, y) == 1.0


def test_what_is_not_there_says_so() -> None:
    x, y, _ = values()
    with pytest.raises(AttributeError, match="DARegressor has no partial_fit: methods that adapt"):
        DARegressor().partial_fit(x, y)
    two = np.stack([x[:, 0], x[:, 1]], 1)
    with pytest.raises(ValueError, match=r"one column, sklearn.multioutput.MultiOutputRegressor fits one for each"):
        DARegressor().fit(x, two)
    assert MultiOutputRegressor(DARegressor("coral", hparams={"reg": 0.1})).fit(x, two).score(x, two) > 0.9
    with pytest.raises(ValueError, match="learns from labelled target samples, and DAClassifier looks at none"):
        DAClassifier("mme").fit(x, np.repeat([0, 1], 45))
    with pytest.raises(ValueError, match="predicts \\['classes'\\]"):
        DARegressor("cdan").fit(x, np.nan_to_num(y))
    with pytest.raises(ValueError, match="only one class is present after sample_weight trimming"):
        DAClassifier().fit(x, np.repeat([0, 1], 45), sample_weight=np.repeat([0, 1], 45))


def test_parameters_of_the_method_one_by_one() -> None:
    made = DAClassifier("coral", hparams={"reg": 0.5}).set_params(hparams__align_means=False, preprocessing=None)
    assert made.hparams == {"reg": 0.5, "align_means": False} and made.preprocessing is None
