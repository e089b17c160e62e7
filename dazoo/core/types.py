"""The values that cross layer boundaries: what a method may look at, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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

    @property
    def regression(self) -> bool:
        return self.n_classes == 0


@dataclass(frozen=True)
class Prediction:
    """``scores`` (n, C): class scores whose softmax are probabilities, or (n, 1) regression values.

    ``features`` (n, d) is the representation the scores were computed from, where there is one.
    """

    scores: Tensor
    features: Tensor | None = None

    @property
    def probs(self) -> Tensor:
        """Class probabilities (n, C)."""
        return torch.softmax(self.scores, dim=1)

    @property
    def labels(self) -> Tensor:
        """Predicted class indices (n,)."""
        return self.scores.argmax(dim=1)

    @property
    def values(self) -> Tensor:
        """Regression values (n,)."""
        return self.scores.squeeze(1)


class Predictor(Portable):
    """A fitted model: raw samples in, ``Prediction`` out. Saved and loaded through ``core.portable``."""

    def predict(self, x: Tensor) -> Prediction:
        """Predict target samples ``x`` (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define predict")

    def predict_source(self, x: Tensor) -> Prediction:
        """Predict *source* samples; differs from ``predict`` where a method maps the domains differently."""
        return self.predict(x)
