"""What a shallow method is: one that solves a problem on vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from dazoo.core.memo import Memo
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base_method import Method


@dataclass
class Context:
    """What the engine lends a shallow method while it fits.

    Attributes:
        gen: the run's random generator.
        classifier: the classifier all methods of a suite finish with (``methods.classifiers``).
        memo: shared results; the key needs no mention of the data, only of hyper-parameters.
        warnings: filled by ``warn``; recorded with the run.
        start: the fitted model of ``Method.start``, where the method declares one.
    """

    gen: torch.Generator
    classifier: Any
    memo: Memo = field(default_factory=Memo)
    warnings: list[str] = field(default_factory=list)
    start: Predictor | None = None

    def warn(self, message: str) -> None:
        """Record that something did not go as it should, e.g. that a solver stopped before it converged."""
        if message not in self.warnings:
            self.warnings.append(message)


class ShallowMethod(Method):
    """A method that solves a problem on vectors. Data arrives as float64 on the run's device."""

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit on what is visible and return a predictor for target samples."""
        raise NotImplementedError(f"{self.name} does not define fit")
