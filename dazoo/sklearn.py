"""A classifier for scikit-learn: any method of the zoo in a pipeline, a search or a cross-validation.

    from dazoo.sklearn import DAClassifier

    model = DAClassifier("coral").fit(x, y, sample_domain=domain)     # domain: positive source, negative target
    model.predict_proba(x_new)

``sample_domain`` is as in skada: samples with a positive number are of the source, those with a negative one of
the target, whose entries of ``y`` are not looked at. Without it all samples are source and target at once.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from dazoo.api import fit
from dazoo.core.errors import DazooError
from dazoo.data.task import Task


class DAClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A method of the zoo as a classifier of scikit-learn.

    Args:
        method: name of a method that runs without target labels; ``dazoo list methods``.
        hparams: its hyper-parameters by name, None for the defaults.
        preprocessing: ``transform`` of ``dazoo.fit`` (an attribute of that name would make this a transformer).
        classifier, recipe: as in ``dazoo.fit``.
        random_state: seed of the fit.

    Attributes:
        classes_: labels in the order of the columns of ``predict_proba``.
        model_: the ``dazoo.fit`` model, for ``dazoo.save``.
        n_features_in_: number of features.
    """

    def __init__(
        self,
        method: str = "coral",
        *,
        hparams: dict[str, Any] | None = None,
        preprocessing: Any = "auto",
        classifier: Any = None,
        recipe: Any = None,
        random_state: int = 0,
    ):
        self.method = method
        self.hparams = hparams
        self.preprocessing = preprocessing
        self.classifier = classifier
        self.recipe = recipe
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_domain: Any = None) -> DAClassifier:
        """Fit to samples X (n, d), labels y (n,) of the source's among them, and domains (n,) of all.

        Raises:
            ValueError: samples, labels or domains that no classifier can be fitted to.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        domain = None if sample_domain is None else _domains(sample_domain, len(X))
        X, y = validate_data(self, X, y, ensure_min_samples=2, dtype=np.float64)
        source = np.ones(len(X), dtype=bool) if domain is None else domain > 0
        known = y[source]
        check_classification_targets(known)
        self.classes_, codes = np.unique(known, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("Classifier can't train when only one class is present.")
        target = X if bool(source.all()) else X[~source]
        seed = int(self.random_state or 0)
        try:
            task = Task.from_arrays(X[source], codes.astype(np.int64), target, targets="classes", seed=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # all of them stand in model_.report
                self.model_ = fit(
                    self.method,
                    task,
                    seed=seed,
                    recipe=self.recipe,
                    classifier=self.classifier,
                    transform=self.preprocessing,
                    **(self.hparams or {}),
                )
        except DazooError as error:
            raise ValueError(str(error)) from error
        return self

    def predict_proba(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Probabilities (n, C) of target samples (n, d), or of the source where ``sample_domain`` is positive."""
        check_is_fitted(self, "model_")
        X = validate_data(self, X, reset=False, dtype=np.float64)
        probs: np.ndarray = self.model_.predict(X).probs.numpy().astype(np.float64)
        if sample_domain is not None and (source := _domains(sample_domain, len(X)) > 0).any():
            probs[source] = self.model_.predict_source(X[source]).probs.numpy()
        return probs

    def predict(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Labels (n,) of samples (n, d), as ``predict_proba``."""
        best = self.predict_proba(X, sample_domain).argmax(1)
        found: np.ndarray = self.classes_[best]
        return found


def _domains(given: Any, n: int) -> np.ndarray:
    found = np.asarray(given)
    if found.shape != (n,) or not np.issubdtype(found.dtype, np.number) or bool((found == 0).any()):
        raise ValueError(
            f"sample_domain must hold a positive (source) or negative (target) number for each of {n} samples"
        )
    if not (found > 0).any():
        raise ValueError("sample_domain names no source; source samples have positive numbers")
    return found
