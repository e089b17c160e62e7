"""Any method of the zoo as a classifier or a regressor of scikit-learn."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted, validate_data

from dazoo.core.errors import DazooError
from dazoo.sklearn.given import domains, is_raw, length, repeats, take

if TYPE_CHECKING:
    from dazoo.core.types import Prediction

HPARAM = "hparams__"


class DAEstimator(BaseEstimator):  # type: ignore[misc]
    """What ``DAClassifier`` and ``DARegressor`` share.

    Args:
        method: name of a method that runs without target labels; ``dazoo list methods``.
        hparams: its hyper-parameters by name, None for the defaults. ``set_params`` and searches take them one by one
            as ``hparams__NAME``.
        preprocessing: ``transform`` of ``dazoo.fit`` (an attribute of that name would make this a transformer).
        classifier, recipe, backbone, encoder, device, select_by: as in ``dazoo.fit``.
        random_state: seed of the fit; None is 0.
    """

    __metadata_request__fit = {"sample_domain": True}
    __metadata_request__score = {"sample_domain": True}
    __metadata_request__predict = {"sample_domain": True}

    def __init__(
        self,
        method: str = "coral",
        *,
        hparams: dict[str, Any] | None = None,
        preprocessing: Any = "auto",
        classifier: Any = None,
        recipe: Any = None,
        random_state: Any = 0,
        backbone: Any = None,
        encoder: Any = "auto",
        device: str = "auto",
        select_by: str | None = None,
    ):
        self.method = method
        self.hparams = hparams
        self.preprocessing = preprocessing
        self.classifier = classifier
        self.recipe = recipe
        self.random_state = random_state
        self.backbone = backbone
        self.encoder = encoder
        self.device = device
        self.select_by = select_by

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; ``hparams__NAME`` one hyper-parameter of the method, beside those that are set."""
        single = {k[len(HPARAM) :]: v for k, v in params.items() if k.startswith(HPARAM)}
        super().set_params(**{k: v for k, v in params.items() if not k.startswith(HPARAM)})
        if single:
            self.hparams = {**(self.hparams or {}), **single}
        return self

    @property
    def partial_fit(self) -> Any:
        """Not there: see the error."""
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit: methods that adapt look at all target samples at once; fit "
            "again with what is new, or use dazoo.fit with setting='test_time' for targets that arrive in batches"
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- fitting ------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_domain: Any, sample_weight: Any, targets: str) -> Self:
        """Fit to samples X (n, d), and labels, domains and weights (n,) of which the source's are looked at."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        X = self._read(X, reset=True)
        domain = np.ones(length(X), dtype=np.int64) if sample_domain is None else domains(sample_domain, length(X))
        rng = check_random_state(0 if self.random_state is None else self.random_state)
        seed = self.random_state if isinstance(self.random_state, (int, np.integer)) else int(rng.randint(2**31 - 1))
        source = np.flatnonzero(domain > 0)
        codes = self._codes(self._labels_of(y, source, length(X)))
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, np.empty((length(X), 1)), ensure_non_negative=True)[source]
            counts = repeats(weights, codes, rng)
            source, codes = np.repeat(source, counts), np.repeat(codes, counts)
        target = source if bool((domain > 0).all()) else np.flatnonzero(domain < 0)
        try:
            self._fit_task(X, source, codes, target, domain, int(seed), targets)
        except DazooError as error:
            raise ValueError(str(error)) from error
        return self

    def _fit_task(self, X: Any, source: Any, codes: Any, target: Any, domain: Any, seed: int, targets: str) -> None:
        """Call ``dazoo.fit`` on rows ``source`` with labels ``codes`` and rows ``target``; fills ``model_``."""
        from dazoo.api import Task, fit
        from dazoo.methods.base import METHODS

        cls = METHODS.get(self.method)
        if "none" not in cls.handles.marked:  # type: ignore[operator]
            raise DazooError(
                f"method {cls.name!r} learns from labelled target samples, and {type(self).__name__} looks at none; "
                "use dazoo.fit with Task.from_arrays(..., few=...), or a method that needs none"
            )
        told = np.unique(domain[source]) if "many" in cls.handles.n_sources else domain[source][:1]  # type: ignore[operator]
        options: dict[str, Any] = {"targets": targets, "seed": seed}
        if len(np.unique(domain[target])) > 1 and bool((domain[target] < 0).all()):
            options["target_domain"] = domain[target]
        if len(told) > 1:
            parts = [domain[source] == k for k in told]
            xs, ys = [take(X, source[part]) for part in parts], [codes[part] for part in parts]
            task = Task.from_arrays(xs, ys, take(X, target), setting="multi_source", **options)
        else:
            task = Task.from_arrays(take(X, source), codes, take(X, target), **options)
        self._sources, self.adapted_ = told, bool((domain < 0).any())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all of them stand in model_.report
            self.model_ = fit(
                self.method,
                task,
                seed=seed,
                recipe=self.recipe,
                backbone=self.backbone,
                classifier=self.classifier,
                device=self.device,
                select_by=self.select_by,
                transform=self.preprocessing,
                encoder=self.encoder,
                **(self.hparams or {}),
            )

    def _labels_of(self, y: Any, source: np.ndarray, n: int) -> np.ndarray:
        """Labels (m,) of the source's rows; no other is looked at."""
        given = np.asarray(y)
        if given.ndim == 2 and given.shape[1] > 1:
            kind = "Classifier" if isinstance(self, ClassifierMixin) else "Regressor"
            raise ValueError(
                f"y should be a 1d array, got an array of shape {given.shape} instead; {type(self).__name__} predicts "
                f"one column, sklearn.multioutput.MultiOutput{kind} fits one for each"
            )
        if given.ndim == 0 or len(given) != n:
            check_consistent_length(np.empty(n), given)
        known: np.ndarray = _check_y(given[source], y_numeric=isinstance(self, RegressorMixin), estimator=self)
        return known

    def _codes(self, known: np.ndarray) -> np.ndarray:
        """Labels (m,) as dazoo takes them."""
        raise NotImplementedError

    # -- predicting ---------------------------------------------------------------------------------------------------

    def _read(self, X: Any, reset: bool) -> Any:
        """Samples as scikit-learn checks them, or as they are where they are none of its kind."""
        if not is_raw(X):
            least = {"ensure_min_samples": 2} if reset else {}
            return validate_data(self, X, reset=reset, dtype=np.float64, accept_sparse="csr", **least)
        if reset and hasattr(X, "columns"):
            self.n_features_in_ = X.shape[1]
            self.feature_names_in_ = np.asarray([str(c) for c in X.columns], dtype=object)
        return X

    def _predict(self, X: Any, sample_domain: Any = None) -> tuple[np.ndarray, Any, Any]:
        """Which samples (n,) are of a source, and the predictions of these and of the others; None for none."""
        check_is_fitted(self, "model_")
        X = self._read(X, reset=False)
        n = length(X)
        domain = -np.ones(n) if sample_domain is None else domains(sample_domain, n, needs_source=False)
        source, out = domain > 0, None
        try:
            if bool((~source).any()) or not n:
                out = self.model_.predict(take(X, ~source) if bool(source.any()) else X)
            of_source = self._predict_source(X, domain) if bool(source.any()) else None
        except DazooError as error:
            raise ValueError(str(error)) from error
        return source, of_source, out

    def _predict_source(self, X: Any, domain: np.ndarray) -> Prediction:
        from dazoo.core.types import Prediction

        places = np.flatnonzero(domain > 0)
        which = self._which(domain[places])
        parts = [(k, self.model_.predict_source(take(X, places[which == k]), int(k))) for k in np.unique(which)]
        if len(parts) == 1:
            return parts[0][1]
        merged = Prediction.joined([p for _, p in parts])
        back = np.argsort(np.concatenate([np.flatnonzero(which == k) for k, _ in parts]))
        return dataclasses.replace(merged, scores=merged.scores[back.tolist()], features=None)

    def _which(self, domain: np.ndarray) -> np.ndarray:
        """Which source of the model (n,), counted from 0, the positive numbers in ``domain`` (n,) mean."""
        if len(self._sources) < 2:
            return np.zeros(len(domain), dtype=np.int64)
        if not bool(np.isin(domain, self._sources).all()):
            raise DazooError(f"sample_domain names other sources than those of the fit, {self._sources.tolist()}")
        return np.searchsorted(self._sources, domain)

    def _outputs(self, X: Any, sample_domain: Any, read: Any) -> np.ndarray:
        """``read`` of the predictions, rows in the order of ``X``."""
        source, of_source, out = self._predict(X, sample_domain)
        parts = [read(p).cpu().numpy().astype(np.float64) for p in (of_source, out) if p is not None]
        found: np.ndarray = parts[0]
        if len(parts) == 2:
            found = np.empty((len(source), *parts[0].shape[1:]))
            found[source], found[~source] = parts
        return found

    def _counted(self, X: Any, y: Any, sample_domain: Any, sample_weight: Any) -> tuple[np.ndarray, Any, Any]:
        """Predictions, labels and weights of the rows that ``score`` counts."""
        guess = self.predict(X, sample_domain=sample_domain)  # type: ignore[attr-defined]
        if sample_domain is None or not (np.asarray(sample_domain) > 0).any():
            return guess, y, sample_weight
        source = np.asarray(sample_domain) > 0
        return (
            guess[source],
            np.asarray(y)[source],
            None if sample_weight is None else np.asarray(sample_weight)[source],
        )


class DAClassifier(ClassifierMixin, DAEstimator):  # type: ignore[misc]
    __doc__ = (DAEstimator.__doc__ or "").replace(
        "What ``DAClassifier`` and ``DARegressor`` share.", "A method of the zoo as a classifier of scikit-learn."
    )

    __metadata_request__predict_proba = {"sample_domain": True}
    __metadata_request__decision_function = {"sample_domain": True}

    def fit(self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None) -> Self:
        """Fit to samples.

        Args:
            X: samples (n, d), dense or sparse; or texts, frames, pictures and series as of ``Task.from_arrays``.
            y: labels (n,); of the target any value, which is not looked at.
            sample_domain: positive for sources, negative for targets (n,); by default every sample is both.
            sample_weight: of source samples (n,): how often a row is taken to be there (``given.repeats``).

        Raises:
            ValueError: samples, labels or domains that no classifier can be fitted to.
        """
        return self._fit(X, y, sample_domain, sample_weight, "classes")

    def _codes(self, known: np.ndarray) -> np.ndarray:
        check_classification_targets(known)
        self.classes_, codes = np.unique(known, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("Classifier can't train when only one class is present.")
        return codes.astype(np.int64)

    def _fit_task(self, X: Any, source: Any, codes: Any, *rest: Any) -> None:
        if len(np.unique(codes)) < 2:
            raise ValueError("Classifier can't train when only one class is present after sample_weight trimming.")
        super()._fit_task(X, source, codes, *rest)
        present = np.unique(codes)  # weights may have left out a class
        self.classes_ = self.classes_[present]
        self.model_ = dataclasses.replace(self.model_, classes=tuple(str(c) for c in self.classes_))

    def predict_proba(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Probabilities (n, C) of target samples (n, d), or of the source where ``sample_domain`` is positive."""
        return self._outputs(X, sample_domain, lambda out: out.probs)

    def decision_function(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Scores (n, C) whose softmax are the probabilities; of two classes their difference (n,)."""
        scores = self._outputs(X, sample_domain, lambda out: out.scores)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Labels (n,) of samples (n, d), as ``predict_proba``."""
        best = self.predict_proba(X, sample_domain).argmax(1)
        found: np.ndarray = self.classes_[best]
        return found

    def score(self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None) -> float:
        """Accuracy; where ``sample_domain`` names source samples, of these alone, since targets have no labels to
        look at."""
        from sklearn.metrics import accuracy_score

        guess, known, weights = self._counted(X, y, sample_domain, sample_weight)
        return float(accuracy_score(known, guess, sample_weight=weights))


class DARegressor(RegressorMixin, DAEstimator):  # type: ignore[misc]
    __doc__ = (DAEstimator.__doc__ or "").replace(
        "What ``DAClassifier`` and ``DARegressor`` share.",
        "A method of the zoo that predicts values, as a regressor of scikit-learn.",
    )

    def fit(self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None) -> Self:
        """Fit to samples; arguments and errors as of ``DAClassifier.fit``, with values (n,) as ``y``."""
        return self._fit(X, y, sample_domain, sample_weight, "values")

    def _codes(self, known: np.ndarray) -> np.ndarray:
        return known.astype(np.float64)

    def predict(self, X: Any, sample_domain: Any = None) -> np.ndarray:
        """Values (n,) of target samples (n, d), or of the source where ``sample_domain`` is positive."""
        return self._outputs(X, sample_domain, lambda out: out.values)

    def score(self, X: Any, y: Any, sample_domain: Any = None, sample_weight: Any = None) -> float:
        """R2; of the samples that ``DAClassifier.score`` counts."""
        from sklearn.metrics import r2_score

        guess, known, weights = self._counted(X, y, sample_domain, sample_weight)
        return float(r2_score(known, guess, sample_weight=weights))
