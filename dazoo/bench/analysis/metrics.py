"""Target metrics as plain functions of predictions and labels."""

from __future__ import annotations

import numpy as np

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "r2": True,
    "mae": False,
    "rmse": False,
}
SCORE = "score of "
"""How the name of a metric begins that is a validator's score, where the target has no labels; higher is better."""
SHARES = frozenset({"accuracy", "balanced_accuracy", "macro_f1"})


def higher_is_better(metric: str) -> bool:
    """Whether higher values of a metric, or of a validator's score, are better."""
    return metric.startswith(SCORE) or HIGHER_IS_BETTER[metric]


def class_metrics(predicted: np.ndarray, true: np.ndarray, n_classes: int) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean recall over the classes present) and macro F1, all in [0, 1].

    Macro F1 averages over the classes that are present or predicted. ``predicted`` and ``true`` are (n,) indices.
    """
    table = np.bincount(true * n_classes + predicted, minlength=n_classes * n_classes).reshape(n_classes, n_classes)
    hits, present, claimed = np.diag(table), table.sum(1), table.sum(0)
    seen = present > 0
    either = (present + claimed) > 0
    return {
        "accuracy": float(hits.sum() / len(true)),
        "balanced_accuracy": float((hits[seen] / present[seen]).mean()),
        "macro_f1": float((2 * hits[either] / (present + claimed)[either]).mean()),
    }


def value_metrics(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean absolute error, root mean squared error, and R2 (NaN where the targets are constant); inputs (n,)."""
    error = predicted - true
    spread = float(((true - true.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else float("nan"),
    }


def effective_classes(labels: np.ndarray, n_classes: int) -> float:
    """Effective number of classes among ``labels`` (n,): exp of the entropy of their shares, 1 where there is one."""
    shares = np.bincount(labels, minlength=n_classes) / max(len(labels), 1)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
