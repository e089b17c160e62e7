"""The classifiers (and regressors) shallow methods finish with, by name: one for all methods of a suite.

======================  ======================================================================================
``1nn``                 k nearest neighbours, option ``k`` (1); with values instead of classes, their mean
``knn_regression``      the same for values only, option ``k`` (5)
``logistic``            multinomial logistic regression (lbfgs), options ``C`` (1.0), ``max_iter`` (1000)
``svm``                 linear SVM, one against one (libsvm), option ``C`` (1.0)
``svm_rbf``             SVM with kernel exp(-||x - x'||^2 / (d var(x))), one against one, option ``C`` (10.0)
``linear_svc``          linear SVM with squared hinge, one against the rest (liblinear), for many samples;
                        options ``C`` (1.0), ``max_iter`` (1000)
``ridge``               least squares with an L2 penalty ``alpha`` (1.0); classes as +1/-1 columns
``trees``               gradient-boosted trees on histograms, options ``rounds`` (100), ``rate`` (0.1), ``leaves`` (15)
======================  ======================================================================================
"""

from __future__ import annotations

import itertools
import warnings as python_warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError, NonFiniteError, UnknownName, nearest
from dazoo.ops.linalg.blas import all_finite, cholesky, product, solve_lower
from dazoo.ops.linalg.linear import Inner, RidgeFit, second_moment
from dazoo.shallow.steps import Affine, Head, KernelMap, LinearScores, NearestNeighbors, PairwiseVotes, Step
from dazoo.shallow.trees import fit_trees

DEFAULTS: dict[str, dict[str, Any]] = {
    "1nn": {"k": 1},
    "knn_regression": {"k": 5},
    "logistic": {"C": 1.0, "max_iter": 1000},
    "svm": {"C": 1.0},
    "svm_rbf": {"C": 10.0},
    "linear_svc": {"C": 1.0, "max_iter": 1000},
    "ridge": {"alpha": 1.0},
    "trees": {"rounds": 100, "rate": 0.1, "leaves": 15},
}
Warn = Callable[[str], None]
SVM_STEPS = 100_000
SPANNED = 3  # how many features a sample there are where samples are turned into coordinates of their span
FOR_VALUES = ("1nn", "knn_regression", "ridge", "trees")
FOR_CLASSES = ("1nn", "logistic", "svm", "svm_rbf", "linear_svc", "ridge", "trees")


@dataclass(frozen=True)
class Classifier:
    """A description of a classifier: its name and its options, sorted by name. Made by ``classifier``."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def describe(self) -> dict[str, Any]:
        """A plain, JSON-able description: ``{"name": ..., <option>: <value>, ...}``."""
        return {"name": self.name, **dict(self.options)}

    def fit(
        self,
        z: Tensor,
        y: Tensor,
        n_classes: int,
        weights: Tensor | None = None,
        gen: torch.Generator | None = None,
        warn: Callable[[str], None] | None = None,
        known: Callable[[], Inner | None] | None = None,
    ) -> Head:
        """Fit on features ``z`` (n, d) with labels ``y`` (n,), classes or, with ``n_classes`` 0, values.

        ``weights`` (n,) are sample weights. Nearest neighbours know no weights: they are fitted on a sample drawn with
        replacement in proportion to the weights, by ``gen``. Weights that are all equal leave the fit exactly as
        without weights. ``known`` gives inner products of ``z`` that several fits share, for those that have a use
        for them.

        Raises:
            DazooError: one class only, or a classifier that does not fit the kind of labels.
            NonFiniteError: features or weights that are not finite.
        """
        if not all_finite(z):
            raise NonFiniteError(f"the features handed to {self.name} hold NaN or infinite values")
        if n_classes and len(torch.unique(y)) < 2:
            raise DazooError("the labelled samples hold one class only; a classifier needs at least two")
        if n_classes and self.name not in FOR_CLASSES:
            raise DazooError(f"{self.name} predicts values, not classes; use one of {', '.join(FOR_CLASSES)}")
        if not n_classes and self.name not in FOR_VALUES:
            raise DazooError(f"{self.name} predicts classes, not values; use one of {', '.join(FOR_VALUES)}")
        weights = checked_weights(weights, len(z))
        options = dict(self.options)
        if self.name in ("1nn", "knn_regression"):
            if weights is not None:
                rows = torch.multinomial(weights.cpu(), len(z), replacement=True, generator=cpu_generator(gen)).to(
                    z.device
                )
                z, y = z[rows], y[rows]
            return NearestNeighbors(z, y, n_classes, options["k"])
        if n_classes and weights is not None and len(torch.unique(y[weights > 0])) < 2:
            raise DazooError("the sample weights leave one class only; a classifier needs at least two")
        if self.name == "trees":
            return fit_trees(z, y, n_classes, options, weights)
        if not n_classes:
            return _ridge_values(z, y, weights, options["alpha"], known)
        if self.name in ("svm", "svm_rbf"):
            return fit_svm(z, y, n_classes, options["C"], "linear" if self.name == "svm" else "rbf", weights, warn)
        return _fit_linear(self.name, options, z, y, n_classes, weights, warn, known)


def classifier(name: str, **options: Any) -> Classifier:
    """The classifier called ``name`` with checked options, e.g. ``classifier("1nn", k=3)``.

    Raises:
        UnknownName: no such classifier or option.
        DazooError: an option of the wrong type or out of range.
    """
    if name not in DEFAULTS:
        raise UnknownName(f"unknown classifier {name!r}: {nearest(name, DEFAULTS)}")
    defaults = DEFAULTS[name]
    for key, value in options.items():
        if key not in defaults:
            raise UnknownName(f"classifier {name!r} has no option {key!r}: {nearest(key, defaults)}")
        whole = isinstance(defaults[key], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
            raise DazooError(f"{name}.{key} must be a positive {'whole ' if whole else ''}number, not {value!r}")
    merged = {key: type(default)(options.get(key, default)) for key, default in defaults.items()}
    return Classifier(name, tuple(sorted(merged.items())))


def checked_weights(weights: Tensor | None, n: int) -> Tensor | None:
    """Weights scaled to mean 1, or None where they say nothing."""
    if weights is None:
        return None
    if len(weights) != n:
        raise DazooError(f"{n} samples but {len(weights)} weights")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise NonFiniteError("sample weights must be finite and not negative")
    total = weights.sum()
    if not bool(total > 0):
        raise DazooError("all sample weights are zero; no source sample is left to learn from")
    if bool((weights == weights[0]).all()):
        return None
    return weights.to(torch.float64) * (n / total)


def cpu_generator(gen: torch.Generator | None) -> torch.Generator | None:
    if gen is None or gen.device.type == "cpu":
        return gen
    return torch.Generator().manual_seed(gen.initial_seed())


def _fit_linear(
    name: str,
    options: dict[str, Any],
    z: Tensor,
    y: Tensor,
    n_classes: int,
    weights: Tensor | None,
    warn: Callable[[str], None] | None,
    known: Callable[[], Inner | None] | None = None,
) -> LinearScores:
    if name == "ridge":
        classes = torch.unique(y)
        sides = 2.0 * (y[:, None] == classes).to(z) - 1.0
        solver = RidgeFit(z, options["alpha"], weights, known() if known else None)
        return LinearScores(*solver.fit(sides), classes, n_classes, "decision")
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if name == "logistic":
        model = LogisticRegression(C=options["C"], max_iter=options["max_iter"])
    else:
        # the primal solver needs minutes on ill-conditioned features where the dual needs seconds
        model = LinearSVC(C=options["C"], max_iter=options["max_iter"], random_state=0, dual=True)
    sample_weight = None if weights is None else weights.cpu().numpy()
    span = lower_of(z) if name == "logistic" else None
    checked = config_context(assume_finite=True, skip_parameter_validation=True)
    with python_warnings.catch_warnings(record=True) as caught, checked:
        python_warnings.simplefilter("always", ConvergenceWarning)
        model.fit((z if span is None else span).cpu().numpy(), y.cpu().numpy(), sample_weight=sample_weight)
    if warn is not None and any(issubclass(w.category, ConvergenceWarning) for w in caught):
        warn(f"{name} stopped after {options.get('max_iter')} iterations before it converged")
    coef, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if span is not None:
        inside = solve_lower(span, torch.from_numpy(np.ascontiguousarray(coef.T)).to(z), transposed=True)
        coef = product(z.T, inside).cpu().numpy().T
    if len(coef) == 1:  # two classes share one column: log-odds for logistic, a signed distance for the others
        low = 0.0 if name == "logistic" else -1.0
        coef, bias = np.concatenate([low * coef, coef]), np.concatenate([low * bias, bias])
    return LinearScores(
        torch.from_numpy(np.ascontiguousarray(coef.T)).to(z),
        torch.from_numpy(bias).to(z),
        torch.from_numpy(np.asarray(model.classes_)).to(device=z.device, dtype=torch.int64),
        n_classes,
        "logits" if name == "logistic" else "decision",
    )


def lower_of(z: Tensor) -> Tensor | None:
    """L (n, n) with L L' = z z' for samples ``z`` (n, d) that are far fewer than features, else None.

    Weights w = z' L^-T u are the best in the span of the samples, outside of which a penalised fit has none, and z w =
    L u, ||w|| = ||u||: rows of L are the samples in coordinates of that span.
    """
    if SPANNED * len(z) > z.shape[1] or z.dtype is not torch.float64:
        return None
    try:
        lower = cholesky(second_moment(z.T))
    except torch.linalg.LinAlgError:
        return None
    diagonal = lower.diagonal()
    return lower if bool(diagonal.min() > 1e-5 * diagonal.max()) else None  # samples that agree leave no digits


def fit_svm(
    z: Tensor,
    y: Tensor,
    n_classes: int,
    c: float,
    kernel: str,
    weights: Tensor | None = None,
    warn: Warn | None = None,
) -> PairwiseVotes:
    """A one-against-one SVM, ``kernel`` ``linear`` or ``rbf`` with gamma = 1 / (d var(z))."""
    gamma = 1.0 / (z.shape[1] * max(float(z.var(correction=0)), 1e-300))
    sample_weight = None if weights is None else weights.cpu().numpy()
    kept = y if weights is None else y[weights > 0]  # libsvm drops samples of weight 0, and classes with them
    model = fit_svc(z.cpu().numpy(), y.cpu().numpy(), sample_weight, warn, C=c, kernel=kernel, gamma=gamma)
    classes = torch.unique(kept)
    if kernel == "linear":
        coef, bias = model.coef_, model.intercept_
    else:
        coef, bias = _pair_coefficients(model.dual_coef_, model.n_support_), model.intercept_
    if len(bias) == 1:  # for two classes scikit-learn turns the sign round
        coef, bias = -coef, -bias
    weight = torch.from_numpy(np.ascontiguousarray(coef.T)).to(z)
    offset = torch.from_numpy(np.ascontiguousarray(bias)).to(z)
    if kernel == "linear":
        step: Step = Affine(weight, offset)
    else:
        anchors = z[torch.from_numpy(model.support_.astype(np.int64)).to(z.device)]
        step = KernelMap("rbf", anchors, weight, torch.tensor(gamma, dtype=z.dtype, device=z.device), offset)
    return PairwiseVotes((step,), classes, n_classes)


def fit_svc(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, warn: Warn | None, **options: Any) -> Any:
    """scikit-learn's ``SVC`` fitted within a number of steps that sound features are far from; beyond it, on a feature
    of a million times the others' size, it would go on for minutes. ``warn`` is told where it stopped.

    Raises:
        NonFiniteError: features so large that the solver overflows.
    """
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    limit = max(SVM_STEPS, 100 * len(x))
    with python_warnings.catch_warnings(record=True) as caught:
        python_warnings.simplefilter("always", ConvergenceWarning)
        try:
            with config_context(skip_parameter_validation=True):
                model = SVC(max_iter=limit, **options).fit(x, y, sample_weight=weights)
        except ValueError as error:
            size = float(np.abs(x).max(initial=0.0))
            raise NonFiniteError(
                f"the support vector machine cannot be fitted on features that reach {size:.3g} in size ({error}); "
                "standardise them"
            ) from error
    if warn is not None and any(issubclass(w.category, ConvergenceWarning) for w in caught):
        warn(f"the support vector machine stopped after {limit} steps before it converged; standardise the features")
    return model


def _pair_coefficients(dual: np.ndarray, support: np.ndarray) -> np.ndarray:
    """libsvm's packed dual coefficients (k - 1, m) as one row per pair of classes (k (k - 1) / 2, m)."""
    k, ends = len(support), np.cumsum(support)
    if k == 2:
        return dual
    parts = [slice(end - n, end) for end, n in zip(ends, support)]
    rows = np.zeros((k * (k - 1) // 2, dual.shape[1]))
    for p, (i, j) in enumerate(itertools.combinations(range(k), 2)):
        rows[p, parts[i]] = dual[j - 1, parts[i]]
        rows[p, parts[j]] = dual[i, parts[j]]
    return rows


def _ridge_values(
    z: Tensor, y: Tensor, weights: Tensor | None, alpha: float, known: Callable[[], Inner | None] | None
) -> LinearScores:
    weight, bias = RidgeFit(z, alpha, weights, known() if known else None).fit(y.to(z)[:, None])
    return LinearScores(weight, bias, torch.zeros(1, dtype=torch.int64, device=z.device), 0, "values")
