"""How a ``Prediction`` is read: probabilities, labels, names or values, and sentences where it has none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.core.shown import counted, table

UNKNOWN = "unknown"
OF_ALL = frozenset({"prior"})
"""Fields of a prediction that concern all samples together."""


class Answers(Portable):
    """What is read off the fields of ``core.types.Prediction``, which derives from this."""

    scores: Tensor
    regression: bool | None
    classes: tuple[str, ...]
    unknown: Tensor | None
    threshold: float | None
    prior: Tensor | None

    def __repr__(self) -> str:
        n = len(self.scores)
        if self.of_values:
            if not n:
                return "<prediction of no samples: values>"
            low, mean, high = (float(v) for v in (self.values.min(), self.values.mean(), self.values.max()))
            return f"<prediction of {n} samples: values {low:.4g} to {high:.4g}, mean {mean:.4g}>"
        return f"<prediction of {n} samples: {counted(self._called()) or f'{self.scores.shape[1]} classes'}>"

    def _called(self) -> list[str]:
        """The answers as text, class indices where names are not known."""
        called = [*self.classes, UNKNOWN] if self.classes else [*map(str, range(self.scores.shape[1])), UNKNOWN]
        return [called[k] for k in self.labels.tolist()]

    def _repr_html_(self) -> str:
        if self.of_values:
            return table(repr(self).strip("<>"), enumerate(self.values.tolist()), ("sample", "value"), most=10)
        top = self.probs.max(1).values.tolist()
        rows = [(i, name, p) for i, (name, p) in enumerate(zip(self._called(), top))]
        return table(repr(self).strip("<>"), rows, ("sample", "class", "probability"), most=10)

    @property
    def names(self) -> np.ndarray:
        """Names of the predicted classes (n,), text; ``unknown`` where none of them.

        Raises:
            DazooError: the model predicts regression values, or does not know the names of its classes.
        """
        self._need_classes("names")
        if not self.classes:
            raise DazooError("this model knows no names of classes; take .labels, or fit it again with this version")
        return np.array([*self.classes, UNKNOWN])[self.labels.detach().cpu().numpy()]

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
        """Predicted class indices (n,); C where ``unknown`` lies above ``threshold``.

        Raises:
            DazooError: the model predicts regression values.
        """
        self._need_classes("labels")
        best = self.scores.argmax(dim=1)
        if self.unknown is None or self.threshold is None:
            return best
        return torch.where(self.unknown > self.threshold, self.scores.shape[1], best)

    @property
    def values(self) -> Tensor:
        """Regression values (n,).

        Raises:
            DazooError: the model predicts classes.
        """
        if not self.of_values:
            raise DazooError("this model predicts classes, so it has no values; take .labels, .probs or .scores")
        return self.scores.squeeze(1)

    def apply(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The prediction with ``change`` made to every tensor in it."""
        changed: dict[str, Any] = {k: change(v) for k, v in self._tensors().items()}
        return replace(self, **changed)  # type: ignore[type-var]

    def rows(self, chosen: Any) -> Self:
        """The prediction on some of the samples; what it says of all of them together stays."""
        found: dict[str, Any] = {k: v[chosen] for k, v in self._tensors().items() if k not in OF_ALL}
        return replace(self, **found)  # type: ignore[type-var]

    @property
    def shares(self) -> dict[str, float]:
        """The estimated class shares of the target, by the names of the classes; empty where there is no estimate."""
        if self.prior is None:
            return {}
        listed = self.prior.tolist()
        return dict(zip(self.classes or map(str, range(len(listed))), listed))

    @staticmethod
    def joined(parts: Sequence[Any]) -> Any:
        """Predictions on parts of the samples, one after the other, as one."""
        names = [k for k in parts[0]._tensors() if k not in OF_ALL]
        rows: dict[str, Any] = {k: torch.cat([getattr(p, k) for p in parts]) for k in names}
        return replace(parts[-1], **rows)

    def _tensors(self) -> dict[str, Any]:
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}  # type: ignore[arg-type]

    def _need_classes(self, what: str) -> None:
        if self.of_values:
            raise DazooError(f"this model predicts regression values, so it has no {what}; take .values")
