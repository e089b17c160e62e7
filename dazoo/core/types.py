"""The values that cross layer boundaries: what a method may look at, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.core.setting import Setting


@dataclass(frozen=True)
class Labeled:
    """Samples with labels: ``x`` (n, ...), ``y`` (n,) int64 classes or float targets, ``domain`` (n,) source index."""

    x: Tensor
    y: Tensor
    domain: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Unlabeled:
    """Samples without labels: ``x`` (n, ...)."""

    x: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Seen:
    """All that a method may look at. There is no field in which hidden target labels could sit.

    Attributes:
        source: labelled source samples (several sources are told apart by ``source.domain``); None where the setting
            has no source.
        target: unlabelled target samples.
        few: the labelled target samples of the few-label and oracle settings, else None.
        n_classes: number of classes; 0 for regression.
        kind: ``vector``, ``image``, ``series``, ``text`` or ``audio``.
        source_val: labelled source rows held out of ``source`` for validators; None where nothing is held out.
    """

    source: Labeled | None
    target: Unlabeled
    few: Labeled | None
    n_classes: int
    kind: str
    setting: Setting
    source_val: Labeled | None = None
    n_sources: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "setting", Setting.of(self.setting))

    @property
    def regression(self) -> bool:
        return self.n_classes == 0


@dataclass(frozen=True)
class Prediction:
    """``scores`` (n, C): class scores whose softmax are probabilities, or (n, 1) regression values.

    Attributes:
        features: (n, d), the representation the scores were computed from, where there is one.
        classes: names of the classes, where they are known.
        regression: whether ``scores`` are values; None tells it by their one column, since classes are at least two.
    """

    scores: Tensor
    features: Tensor | None = None
    regression: bool | None = None
    classes: tuple[str, ...] = ()

    @property
    def names(self) -> np.ndarray:
        """Names of the predicted classes (n,), text.

        Raises:
            DazooError: the model predicts regression values, or does not know the names of its classes.
        """
        self._need_classes("names")
        if not self.classes:
            raise DazooError("this model knows no names of classes; take .labels, or fit it again with this version")
        return np.array(self.classes)[self.labels.detach().cpu().numpy()]

    @property
    def of_values(self) -> bool:
        """Whether this predicts regression values instead of classes."""
        return self.scores.shape[1] == 1 if self.regression is None else self.regression

    @property
    def probs(self) -> Tensor:
        """Class probabilities (n, C).

        Raises:
            DazooError: the model predicts regression values.
        """
        self._need_classes("probs")
        return torch.softmax(self.scores, dim=1)

    @property
    def labels(self) -> Tensor:
        """Predicted class indices (n,).

        Raises:
            DazooError: the model predicts regression values.
        """
        self._need_classes("labels")
        return self.scores.argmax(dim=1)

    @property
    def values(self) -> Tensor:
        """Regression values (n,).

        Raises:
            DazooError: the model predicts classes.
        """
        if not self.of_values:
            raise DazooError("this model predicts classes, so it has no values; take .labels, .probs or .scores")
        return self.scores.squeeze(1)

    def _need_classes(self, what: str) -> None:
        if self.of_values:
            raise DazooError(f"this model predicts regression values, so it has no {what}; take .values")


class Predictor(Portable):
    """A fitted model: raw samples in, ``Prediction`` out. Saved and loaded through ``core.portable``."""

    def predict(self, x: Tensor) -> Prediction:
        """Predict target samples ``x`` (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define predict")

    def predict_source(self, x: Tensor) -> Prediction:
        """Predict *source* samples; differs from ``predict`` where a method maps the domains differently."""
        return self.predict(x)
