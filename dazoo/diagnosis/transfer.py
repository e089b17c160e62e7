"""Transferability scores of a task's features, on the labelled samples there are."""

from __future__ import annotations

import numpy as np

from dazoo.diagnosis.scores import h_score, leep, logme, nce, regularized_h_score, transrate


def scores_of(x: np.ndarray, y: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """All six scores of features x (n, d), labels y (n,) and a source classifier's probabilities (n, C) for them.

    The scores of features are those of ``dazoo.diagnosis.scores`` (higher is better for all).
    """
    return {
        "h_score": h_score(x, y),
        "regularized_h_score": regularized_h_score(x, y),
        "leep": leep(probs, y),
        "nce": nce(probs.argmax(1), y),
        "logme": logme(x, y),
        "transrate": transrate(x, y),
    }


def scores_of_values(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The one score that is defined for regression targets y (n,)."""
    return {"logme": logme(x, y, regression=True)}
