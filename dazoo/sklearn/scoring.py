"""Validators as scorers: searches and cross-validation that choose without any label of the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.metadata_routing import MetadataRequest
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED
from dazoo.core.types import Labeled, Prediction, Predictor, Seen, Unlabeled
from dazoo.sklearn.estimators import DAEstimator
from dazoo.sklearn.given import domains, is_raw, length, take
from dazoo.validators.base import VALIDATORS, Candidate, Evidence, admission

LEAST = 1e-12  # the smallest probability that is told apart from 0


@dataclass(frozen=True)
class ValidatorScorer:
    """A validator of dazoo as a scorer: higher is better, and labels of the target are never read.

    Scores any fitted classifier or regressor: ``DAClassifier`` and ``DARegressor``, at the end of a pipeline too, by
    the features that the method computed, others by their inputs.

    Attributes:
        validator: a name of ``dazoo list validators``.
        request: whether scikit-learn hands it ``sample_domain``, or the name under which it does.
    """

    validator: str
    request: bool | str = True

    def set_score_request(self, *, sample_domain: bool | str = True) -> ValidatorScorer:
        """Another request, as of scikit-learn's scorers."""
        return replace(self, request=sample_domain)

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn asks scorers for."""
        made = MetadataRequest(owner=self)
        made.score.add_request(param="sample_domain", alias=self.request)
        return made

    def __call__(self, estimator: Any, X: Any, y: Any = None, sample_domain: Any = None) -> float:
        """The score of a fitted estimator; NaN where it is undefined, as where a single class is predicted.

        Args:
            X: samples (n, ...) that the estimator takes.
            y: labels (n,), looked at where ``sample_domain`` is positive. Source samples count as held out.
            sample_domain: positive for sources, negative for targets; without it all samples are of the target.

        Raises:
            ValueError: the validator needs what the samples or the estimator do not offer, or the domains are not told
                of an estimator that was fitted to two.
        """
        try:
            seen = evidence_of(estimator, X, y, sample_domain)
            if lacking := [need for need in VALIDATORS.get(self.validator).needs if getattr(seen, need) is None]:
                raise DazooError(_about(self.validator, lacking, seen))
            value = VALIDATORS.get(self.validator)(seen)
        except DazooError as error:
            raise ValueError(str(error)) from error
        return float("nan") if value is None else value


def scorer(validator: str) -> ValidatorScorer:
    """A validator as ``scoring`` of searches and ``cross_val_score``, e.g. ``scorer("corr_c")``.

    ``sklearn.set_config(enable_metadata_routing=True)`` lets scikit-learn hand it ``sample_domain``.

    Raises:
        DazooError: no validator of that name, or one that cannot score a single model without target labels.
    """
    found = VALIDATORS.get(validator)
    if found.of_group:
        raise DazooError(
            f"validator {validator!r} compares models with each other and scores none alone; give the fitted ones to "
            "dazoo.sklearn.compare"
        )
    if validator not in (rules := admission(UNSUPERVISED)).able:
        raise DazooError(f"{rules.problem(validator)}; take one of {', '.join(scorers())}")
    return ValidatorScorer(validator)


def scorers() -> list[str]:
    """Names that ``scorer`` takes."""
    return [name for name in admission(UNSUPERVISED).able if not VALIDATORS.get(name).of_group]


def compare(validator: str, estimators: list[Any], X: Any, y: Any = None, sample_domain: Any = None) -> list[float]:
    """Scores of fitted estimators by a validator that compares them, e.g. ``ensv``; NaN where undefined.

    Arguments as of ``ValidatorScorer``; validators of single models score one after the other.

    Raises:
        ValueError: as ``ValidatorScorer``.
    """
    found = VALIDATORS.get(validator)
    if not found.of_group:
        return [scorer(validator)(one, X, y, sample_domain=sample_domain) for one in estimators]
    hparams = [dict(getattr(_parts(one)[1], "hparams", None) or {}) for one in estimators]
    seen = [evidence_of(one, X, y, sample_domain) for one in estimators]
    group = [Candidate(lambda e=e: e, h) for e, h in zip(seen, hparams)]  # type: ignore[misc]
    return [float("nan") if v is None else v for v in found.of(group)]


def evidence_of(estimator: Any, X: Any, y: Any = None, sample_domain: Any = None) -> Evidence:
    """What a fitted estimator offers to validators on samples X (n, ...); ``y`` is looked at for source samples alone.

    Raises:
        DazooError: domains that are not told, or source labels that the estimator does not know.
    """
    steps, last = _parts(estimator)
    if sample_domain is None and getattr(last, "adapted_", False):
        raise DazooError(
            "the scorer does not know which samples are of the source: call "
            "sklearn.set_config(enable_metadata_routing=True) and give sample_domain=... to the search, or "
            "sample_domain=[-1, ...] to score target samples alone"
        )
    domain = np.full(length(X), -1) if sample_domain is None else domains(sample_domain, length(X), needs_source=False)
    source = np.flatnonzero(domain > 0)
    codes = None
    if y is not None and len(source):
        codes = _codes(last, np.asarray(y)[source])
    if isinstance(last, DAEstimator):
        return _of_model(last, steps.transform(X) if steps is not None else X, codes, domain)
    made = Wrapped.of(estimator, X)
    labelled = (
        None if codes is None else Labeled(made.rows(X, source), codes, torch.zeros(len(source), dtype=torch.int64))
    )
    return _evidence(made, labelled, made.rows(X, np.flatnonzero(domain < 0)), len(getattr(last, "classes_", ())))


def _of_model(estimator: DAEstimator, X: Any, codes: Tensor | None, domain: np.ndarray) -> Evidence:
    X = estimator._read(X, reset=False)
    model, places = estimator.model_, np.flatnonzero(domain > 0)
    labelled = None
    if codes is not None:
        which = estimator._which(domain[places])
        x = [model.numbers_of_source(take(X, places[which == k]), int(k)) for k in np.unique(which)]
        order = np.concatenate([np.flatnonzero(which == k) for k in np.unique(which)])
        labelled = Labeled(torch.cat(x), codes[order.tolist()], torch.from_numpy(which[order]))
    numbers = model.numbers(take(X, domain < 0))
    return _evidence(model.inner, labelled, numbers, len(getattr(estimator, "classes_", ())))


def _evidence(predictor: Predictor, labelled: Labeled | None, target: Any, n_classes: int) -> Evidence:
    if not len(target):
        raise DazooError("no sample is of the target; its samples have negative numbers in sample_domain")
    n_sources = 1 if labelled is None else int(labelled.domain.max()) + 1
    setting = MULTI_SOURCE if n_sources > 1 else UNSUPERVISED
    unlabelled = Unlabeled(target)
    return Evidence(
        predictor,
        Seen(labelled, unlabelled, None, n_classes, "vector", setting, source_val=labelled, n_sources=n_sources),
    )


def _parts(estimator: Any) -> tuple[Any, Any]:
    """The fitted transformers of a pipeline, None where there are none, and its last step; of a search, its best."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not hasattr(estimator, "steps"):
        return None, estimator
    inner, last = _parts(estimator.steps[-1][1])
    if inner is not None:
        return None, estimator  # pipelines in pipelines are taken whole
    return (estimator[:-1] if len(estimator.steps) > 1 else None), last


def _codes(last: Any, known: np.ndarray) -> Tensor:
    """Labels (n,) as indices of the estimator's classes, or values."""
    if not hasattr(last, "classes_"):
        return torch.from_numpy(known.astype(np.float64))
    classes = np.asarray(last.classes_)
    place = {label: i for i, label in enumerate(classes.tolist())}
    odd = sorted({str(label) for label in known.tolist() if label not in place})
    if odd:
        raise DazooError(f"source samples have the labels {', '.join(odd[:5])}, which the estimator was not fitted to")
    return torch.tensor([place[label] for label in known.tolist()], dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Wrapped(Predictor):
    """Any fitted estimator as a predictor of dazoo; ``columns`` are those of the frames that it takes, or None."""

    estimator: Any
    columns: Any = None

    @staticmethod
    def of(estimator: Any, x: Any) -> Wrapped:
        """Raises ``DazooError`` where an estimator has neither probabilities nor values."""
        if not hasattr(estimator, "predict_proba") and not is_regressor(estimator):
            what = "a classifier without predict_proba" if is_classifier(estimator) else "no classifier or regressor"
            raise DazooError(f"validators read probabilities or values, and {type(estimator).__name__} is {what}")
        return Wrapped(estimator, getattr(x, "columns", None))

    def rows(self, x: Any, at: np.ndarray) -> Any:
        """Rows ``at`` of ``x`` as a tensor (m, ...), where they are numbers."""
        some = take(x, at)
        if is_raw(x):
            return some
        return torch.from_numpy(np.array(some.toarray() if hasattr(some, "tocsr") else some, dtype=np.float64))

    def predict(self, x: Any) -> Prediction:
        features = x.flatten(1) if isinstance(x, Tensor) and x.ndim > 1 else None
        if isinstance(x, Tensor):
            x = x.numpy()
            if self.columns is not None:
                import pandas as pd

                x = pd.DataFrame(x, columns=self.columns)
        if hasattr(self.estimator, "predict_proba"):
            probs = np.clip(np.asarray(self.estimator.predict_proba(x), dtype=np.float64), LEAST, None)
            return Prediction(torch.from_numpy(np.log(probs)), features)
        values = np.asarray(self.estimator.predict(x), dtype=np.float64).reshape(-1, 1)
        return Prediction(torch.from_numpy(values), features, regression=True)


def _about(name: str, lacking: list[str], seen: Evidence) -> str:
    """What a validator needs and does not get, in words."""
    if seen.n_classes == 0 and any(need.endswith("_probs") for need in lacking):
        return f"validator {name!r} judges classifiers, not regressors; take source_validation, dev or iwcv"
    if any(need.startswith(("source_", "held_out_")) for need in lacking) and seen.source_labels is None:
        return (
            f"validator {name!r} needs source samples with labels among those it scores: positive sample_domain, and y"
        )
    if "head" in lacking:
        return (
            f"validator {name!r} needs a linear classifier on top of features, and this estimator is none that it knows"
        )
    return f"validator {name!r} needs {', '.join(lacking)}, which this estimator and these samples do not offer"
