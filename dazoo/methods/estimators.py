"""A scikit-learn estimator of one's own as what shallow methods finish with.

Any object with ``fit(X, y)`` and ``predict(X)`` will do, pipelines and grid searches included. Scores are log
``predict_proba`` where there is such, else ``decision_function``, else 1 or 0 for the predicted class; values come
from ``predict``. Weights go to ``sample_weight`` (of a pipeline: of its last step); an estimator that has none is
fitted on a sample drawn in proportion to the weights.
"""

from __future__ import annotations

import copy
import warnings as python_warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.ops.linalg.blas import all_finite
from dazoo.shallow.classifiers import Classifier, checked_weights, classifier, cpu_generator
from dazoo.shallow.steps import Head

LEAST = 1e-12  # the smallest probability that is told apart from 0


def finisher(given: Any) -> Any:
    """What shallow methods finish with: a name of ``methods.classifiers``, or an estimator.

    Raises:
        DazooError: neither the one nor the other.
    """
    if given is None or isinstance(given, (Classifier, Own)):
        return given
    if isinstance(given, str):
        return classifier(given)
    if isinstance(given, torch.nn.Module):
        raise DazooError(
            "a network is no classifier of shallow methods; give it as backbone=, to a method trained by gradients"
        )
    if isinstance(given, type):
        raise DazooError(f"classifier={given.__name__} is a class; give an estimator, as {given.__name__}()")
    if not (callable(getattr(given, "fit", None)) and callable(getattr(given, "predict", None))):
        raise DazooError(
            f"a classifier is a name such as '1nn', or an estimator with fit and predict, not {type(given).__name__}"
        )
    return Own(given)


@dataclass(frozen=True, eq=False)
class Own:
    """An estimator, to be copied for every fit; the same to methods as ``classifiers.Classifier``."""

    estimator: Any

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    def fit(
        self,
        z: Tensor,
        y: Tensor,
        n_classes: int,
        weights: Tensor | None = None,
        gen: torch.Generator | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> Head:
        """Fit a copy on features ``z`` (n, d) with labels ``y`` (n,); arguments as of ``Classifier.fit``.

        Raises:
            DazooError: an estimator of values for classes or the other way round, or one that fails.
        """
        self._check(y, n_classes)
        if not all_finite(z):
            raise NonFiniteError(f"the features handed to {self.name} hold NaN or infinite values")
        weights = checked_weights(weights, len(z))
        x, labels, more = z.cpu().numpy(), y.cpu().numpy(), {}
        if weights is not None:
            key = _weight_key(self.estimator)
            if key is not None:
                more = {key: weights.cpu().numpy()}
            else:
                rows = torch.multinomial(weights.cpu(), len(z), replacement=True, generator=cpu_generator(gen)).numpy()
                x, labels = x[rows], labels[rows]
        model = _fresh(self.estimator, gen)
        with python_warnings.catch_warnings(record=True) as caught:
            python_warnings.simplefilter("always")
            try:
                model.fit(x, labels, **more)
            except Exception as error:
                raise DazooError(f"{self.name} could not be fitted: {type(error).__name__}: {error}") from error
        for told in caught:
            if warn is not None:
                warn(f"{self.name}: {told.message}")
        return EstimatorHead(model, n_classes)

    def _check(self, y: Tensor, n_classes: int) -> None:
        if n_classes and len(torch.unique(y)) < 2:
            raise DazooError("the labelled samples hold one class only; a classifier needs at least two")
        if n_classes and _is(self.estimator, "regressor"):
            raise DazooError(f"{self.name} predicts values, not classes; give a classifier")
        if not n_classes and _is(self.estimator, "classifier"):
            raise DazooError(f"{self.name} predicts classes, not values; give a regressor")


@dataclass(frozen=True, eq=False)
class PackedEstimator(Head):
    """An ``EstimatorHead`` in a file: ``data`` (n,) uint8 of skops."""

    data: torch.Tensor
    n_classes: int

    def unpacked(self, trust: Sequence[str]) -> EstimatorHead:
        try:
            from skops.io import get_untrusted_types, loads
        except ImportError as error:
            raise DazooError("this model ends in an estimator; reading it takes: pip install 'dazoo[skops]'") from error
        data = self.data.numpy().tobytes()
        try:
            asked = get_untrusted_types(data=data)
            unknown = [t for t in asked if t not in trust and t.partition(".")[0] not in trust]
            if unknown:
                raise DazooError(
                    f"this model holds an estimator with {', '.join(unknown[:5])}, which may be any code; where you "
                    f"trust it: dazoo.load(path, trust={unknown[:5]})"
                )
            return EstimatorHead(loads(data, trusted=asked), self.n_classes)
        except DazooError:
            raise
        except Exception as error:
            text = (str(error).splitlines() or [""])[0][:200]
            raise DazooError(f"the estimator in this model cannot be read ({type(error).__name__}: {text})") from error


@dataclass(frozen=True, eq=False)
class EstimatorHead(Head):
    """A fitted estimator as the last step of a model; ``n_classes`` 0 for values.

    Classes that it was not fitted on score 30 below the best of the others.
    """

    estimator: Any
    n_classes: int

    def packed(self) -> PackedEstimator:
        """As skops writes it: data that name their types, none of which is made before it is known or trusted."""
        name = type(self.estimator).__name__
        remedy = (
            "or, where you trust the file, use joblib.dump(model, path) and joblib.load(path), else fit with one of "
            "dazoo's classifiers"
        )
        try:
            from skops.io import dumps, get_untrusted_types
        except ImportError as error:
            raise DazooError(
                f"a model file holds no code; that a model with your own {name} can be saved in one takes the package "
                f"skops: pip install 'dazoo[skops]'; {remedy}"
            ) from error
        try:
            data = dumps(self.estimator)
            nameless = [t for t in get_untrusted_types(data=data) if t.startswith("__main__.") or "<" in t]
        except Exception as error:
            text = (str(error).splitlines() or [""])[0][:200]
            raise DazooError(f"your own {name} cannot be saved in a model file ({text}): {remedy}") from error
        if nameless:
            raise DazooError(
                f"your own {name} cannot be saved in a model file, since {nameless[0]} is of a script, notebook or "
                f"function, where no other program finds it; move it to a module, {remedy}"
            )
        return PackedEstimator(torch.frombuffer(bytearray(data), dtype=torch.uint8), self.n_classes)

    def __call__(self, z: Tensor) -> Tensor:
        x = z.detach().cpu().numpy()
        if not np.isfinite(x).all():
            raise NonFiniteError("the samples hold NaN or infinite values; clean them before predicting")
        try:
            found = self._values(x) if self.n_classes == 0 else self._scores(x)
        except Exception as error:
            name = type(self.estimator).__name__
            raise DazooError(f"{name} could not predict: {type(error).__name__}: {error}") from error
        return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float64)).to(z.device)

    def _values(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.estimator.predict(x), dtype=np.float64).reshape(len(x), 1)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        model = self.estimator
        classes = np.asarray(getattr(model, "classes_", np.arange(self.n_classes))).astype(np.int64)
        raw = None
        if hasattr(model, "predict_proba"):
            raw = np.log(np.clip(np.asarray(model.predict_proba(x), dtype=np.float64), LEAST, None))
        elif hasattr(model, "decision_function") and not _by_pairs(model):
            raw = np.asarray(model.decision_function(x), dtype=np.float64)
            raw = np.stack([-raw, raw], axis=1) if raw.ndim == 1 else raw
        if raw is None or raw.shape != (len(x), len(classes)):
            raw = (np.asarray(model.predict(x))[:, None] == classes).astype(np.float64)
        if len(classes) == self.n_classes:
            return raw
        scores = np.repeat(raw.max(axis=1, keepdims=True) - 30, self.n_classes, axis=1)
        scores[:, classes] = raw
        return scores


def _is(estimator: Any, kind: str) -> bool:
    """Whether scikit-learn takes it for a ``classifier`` or ``regressor``; no where it does not know."""
    from sklearn import base

    try:
        return bool(base.is_classifier(estimator) if kind == "classifier" else base.is_regressor(estimator))
    except (AttributeError, TypeError):
        return False


def _by_pairs(estimator: Any) -> bool:
    """Whether decision values are those of pairs of classes, of which there are three for three classes too."""
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    return any(k.endswith("decision_function_shape") and v == "ovo" for k, v in params.items())


def _weight_key(estimator: Any) -> str | None:
    """The argument of ``fit`` that takes sample weights, None where there is none."""
    from sklearn.utils.validation import has_fit_parameter

    if hasattr(estimator, "steps"):
        name, last = estimator.steps[-1]
        inner = _weight_key(last)
        return None if inner is None else f"{name}__{inner}"
    return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _fresh(estimator: Any, gen: torch.Generator | None) -> Any:
    """An unfitted copy; random states that were left open come from the run's generator."""
    from sklearn.base import clone

    if not hasattr(estimator, "get_params"):
        return copy.deepcopy(estimator)
    model = clone(estimator)
    params = model.get_params(deep=True)
    open_states = [k for k in sorted(params) if k.split("__")[-1] == "random_state" and params[k] is None]
    source = cpu_generator(gen)
    states = {k: int(torch.randint(2**31 - 1, (), generator=source)) for k in open_states}
    return model.set_params(**states) if states else model
