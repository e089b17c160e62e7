"""``dazoo.sklearn``: scorers and folds that read no label of the target, and scikit-learn's routing of domains."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from dazoo.core.errors import DazooError
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.sklearn import DAClassifier, DARegressor, DomainKFold, ValidatorScorer, compare, scorer, scorers
from dazoo.validators import dev
from dazoo.validators.base import VALIDATORS, Evidence


@pytest.fixture(autouse=True)
def _routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def shifted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes and a turned, moved target; every third sample is of it, and has a label all the same."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    x = rng.normal(size=(120, 3)) + 2.5 * y[:, None]
    domain = np.where(np.arange(120) % 3 == 0, -2, 1)
    x[domain < 0] = x[domain < 0] * [1.5, -0.7, 1.0] + 1.0
    return x, np.array(["no", "yes"])[y], domain


def garbage(y: np.ndarray, domain: np.ndarray) -> list[np.ndarray]:
    """``y`` with other entries for the target: turned round, of no class, and missing."""
    turned = np.where(domain < 0, np.where(y == "yes", "no", "yes"), y)
    nothing = y.astype(object)
    nothing[domain < 0] = np.nan
    return [turned, np.where(domain < 0, [f"label {i}" for i in range(len(y))], y), nothing]


def test_a_search_chooses_the_same_whatever_the_labels_of_the_target_are() -> None:
    x, y, domain = shifted()
    grid = {"daclassifier__method": ["coral", "sa", "pca"], "daclassifier__preprocessing": [None, "zscore_within"]}
    chosen = []
    for labels in (y, *garbage(y, domain)):
        pipe = make_pipeline(StandardScaler(), DAClassifier(classifier="ridge"))
        search = GridSearchCV(pipe, grid, scoring=scorer("corr_c"), cv=DomainKFold(2), error_score="raise")
        search.fit(x, labels, sample_domain=domain)
        chosen.append((search.best_params_, tuple(search.cv_results_["mean_test_score"])))
    assert all(one == chosen[0] for one in chosen[1:])
    assert len(set(chosen[0][1])) > 2


@pytest.mark.parametrize("name", scorers())
def test_every_validator_scores_as_on_the_same_evidence(name: str) -> None:
    """By hand: the model's own predictor on what it saw of both sides."""
    x, y, domain = shifted()
    source = domain > 0
    made = DAClassifier("coral", preprocessing="zscore_within", classifier="ridge").fit(x, y, sample_domain=domain)
    known = torch.from_numpy((y[source] == "yes").astype(np.int64))
    part = Labeled(made.model_.numbers_of_source(x[source]), known, torch.zeros(len(known), dtype=torch.int64))
    target = Unlabeled(made.model_.numbers(x[~source]))
    seen = Seen(part, target, None, 2, "vector", "unsupervised", source_val=part)  # type: ignore[arg-type]
    expected = VALIDATORS.get(name)(Evidence(made.model_.inner, seen))
    assert expected is not None
    for labels in (y, *garbage(y, domain)):
        assert scorer(name)(made, x, labels, sample_domain=domain) == pytest.approx(expected, rel=1e-12), name


def test_of_any_estimator_by_its_probabilities() -> None:
    x, y, domain = shifted()
    source = domain > 0
    plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[source], y[source])
    probs = plain.predict_proba(x[~source])
    expected = float(np.mean((probs * np.log(probs)).sum(1)))
    assert scorer("entropy")(plain, x[~source]) == pytest.approx(expected)
    assert scorer("entropy")(plain, x, y, sample_domain=domain) == pytest.approx(expected)
    assert scorer("source_validation")(plain, x, y, sample_domain=domain) == plain.score(x[source], y[source])
    framed = LogisticRegression().fit(pd.DataFrame(x[source], columns=list("abc")), y[source])
    assert math.isfinite(scorer("iwcv")(framed, pd.DataFrame(x, columns=list("abc")), y, sample_domain=domain))
    values = LinearRegression().fit(x[source], x[source].sum(1))
    assert scorer("source_validation")(values, x, x.sum(1), sample_domain=domain) == pytest.approx(0.0, abs=1e-12)
    other = DAClassifier("sa", classifier="ridge").fit(x, y, sample_domain=domain)
    both = [probs, other.predict_proba(x[~source])]
    agree = [float((one.argmax(1) == (both[0] + both[1]).argmax(1)).mean()) for one in both]
    assert compare("ensv", [plain, other], x, y, domain) == pytest.approx(agree) and min(agree) < 1
    assert compare("entropy", [plain], x, y, domain) == pytest.approx([expected])


def test_what_cannot_be_scored_says_so() -> None:
    x, y, domain = shifted()
    made = DAClassifier("coral", classifier="ridge").fit(x, y, sample_domain=domain)
    with pytest.raises(ValueError, match="does not know which samples are of the source"):
        scorer("corr_c")(made, x, y)
    with pytest.raises(ValueError, match="needs source samples with labels"):
        scorer("source_validation")(made, x, sample_domain=domain)
    with pytest.raises(ValueError, match="no sample is of the target"):
        scorer("corr_c")(made, x, y, sample_domain=np.abs(domain))
    with pytest.raises(ValueError, match="LinearSVC is a classifier without predict_proba"):
        scorer("corr_c")(LinearSVC().fit(x, y), x)
    with pytest.raises(ValueError, match="labels maybe, which the estimator was not fitted to"):
        scorer("corr_c")(made, x, np.full(len(x), "maybe"), sample_domain=domain)
    values = DARegressor("coral").fit(x, x.sum(1), sample_domain=domain)
    with pytest.raises(ValueError, match="judges classifiers, not regressors"):
        scorer("corr_c")(values, x, sample_domain=domain)
    assert scorer("iwcv")(values, x, x.sum(1), sample_domain=domain) < 0
    with pytest.raises(DazooError, match="compares models with each other"):
        scorer("ensv")
    with pytest.raises(DazooError, match="'leave_one_domain_out' has no value"):
        scorer("leave_one_domain_out")
    with pytest.raises(DazooError, match="did you mean 'corr_c'"):
        scorer("corr")


def test_folds_hold_both_domains_and_every_class() -> None:
    x, y, domain = shifted()
    domain[:30] = np.where(domain[:30] > 0, 2, domain[:30])
    seen = np.zeros(len(x), dtype=int)
    for train, test in DomainKFold(4, random_state=1).split(x, y, sample_domain=domain):
        assert not set(train) & set(test) and len(train) + len(test) == len(x)
        seen[test] += 1
        for rows in (train, test):
            assert set(domain[rows]) == {1, 2, -2} and set(y[rows][domain[rows] > 0]) == {"no", "yes"}
    assert (seen == 1).all()
    folds = [list(DomainKFold(4).split(x, labels, sample_domain=domain)) for labels in (y, *garbage(y, domain)[:2])]
    assert all(np.array_equal(a[1], b[1]) for other in folds[1:] for a, b in zip(folds[0], other))
    for train, test in DomainKFold(2, keep_target=True).split(x, y, groups=domain):
        assert (np.isin(np.flatnonzero(domain < 0), train) & np.isin(np.flatnonzero(domain < 0), test)).all()
    with pytest.raises(ValueError, match="needs to know the domains"):
        next(DomainKFold(2).split(x, y))
    with pytest.raises(ValueError, match="9 folds need as many samples of domain -2, which has 4"):
        next(DomainKFold(9).split(x[:12], y[:12], sample_domain=domain[:12]))


def test_cross_validation_stacking_and_weights_with_routing() -> None:
    x, y, domain = shifted()
    made = DAClassifier("coral", classifier="ridge").set_fit_request(sample_weight=True)
    given = {"sample_domain": domain, "sample_weight": np.ones(len(x))}
    folds = DomainKFold(2, keep_target=True)
    one = cross_val_score(made, x, y, scoring=scorer("snd"), cv=folds, params=given)
    several = {"a": scorer("snd"), "b": scorer("dev")}
    two = cross_validate(made, x, y, scoring=several, cv=folds, params=given)
    assert np.array_equal(one, two["test_a"]) and np.isfinite(two["test_b"]).all()
    own = cross_val_score(
        made, x, garbage(y, domain)[1], cv=folds, params={"sample_domain": domain}
    )  # the source's alone
    assert (own > 0.8).all()
    both = [("a", DAClassifier("coral")), ("b", DAClassifier("sa"))]
    stack = StackingClassifier(both, final_estimator=DAClassifier("source_only", classifier="logistic"), cv=2)
    stack.fit(x, y, sample_domain=domain)
    assert stack.transform(x).shape == (120, 2) and stack.score(x[domain > 0], y[domain > 0]) > 0.8
    again = clone(stack).fit(x, garbage(y, domain)[0], sample_domain=domain)
    assert np.array_equal(stack.predict(x), again.predict(x))
    assert 0 < scorer("corr_c")(stack, x, y, sample_domain=domain) <= 1


def test_scorers_are_values() -> None:
    made = scorer("corr_c")
    assert made == ValidatorScorer("corr_c") == pickle.loads(pickle.dumps(made))
    assert repr(made.set_score_request(sample_domain="domain").get_metadata_routing()) == (
        "{'score': {'sample_domain': 'domain'}}"
    )
    model = pickle.loads(pickle.dumps(DAClassifier("coral").fit(*shifted())))
    assert math.isfinite(made(model, shifted()[0], sample_domain=shifted()[2]))


def test_weights_that_are_equal_but_for_rounding_control_nothing() -> None:
    w = 1.001 + 1e-12 * torch.arange(50, dtype=torch.float64)
    wrong = (torch.arange(50) % 5 == 0).double()
    assert float(dev.controlled(w * wrong, w)) == pytest.approx(0.2 * 1.001)
