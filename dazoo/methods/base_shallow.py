"""What a shallow method is: one that solves a problem on vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from dazoo.core.memo import Memo
from dazoo.core.types import Predictor, Seen
from dazoo.methods.base_method import Method


@dataclass
class Context:
    """What the engine lends a shallow method while it fits."""

    gen: torch.Generator  # the run's random generator
    classifier: Any  # the classifier all methods of a suite finish with (``shallow.classifiers``)
    memo: Memo = field(default_factory=Memo)  # shared results; a key names hyper-parameters, never the data
    warnings: list[str] = field(default_factory=list)  # filled by ``warn``; recorded with the run
    sample: int = 10_000  # how many samples of a domain are taken where a domain stays on disk and all do not do
    on_disk: bool = False  # whether the samples of this fit stay on disk, so that the method sees such a sample of them
    start: Predictor | None = None  # the fitted model of ``Method.start``, where the method declares one

    def warn(self, message: str) -> None:
        """Record that something did not go as it should, e.g. that a solver stopped before it converged."""
        if message not in self.warnings:
            self.warnings.append(message)


class ShallowMethod(Method):
    """A method that solves a problem on vectors. Data arrives as float64 on the run's device.

    Class attributes:
        on_disk: of samples that stay on disk (``data.blocks``), what ``fit`` takes as it is: ``both`` domains, the
            ``target`` alone, or ``none``; of the rest it is given a sample in memory.
        growth, memory_growth: the exponents with which time and memory grow with the samples of a domain, to half a
            unit, where they were measured to be above those of n log n (``python -m benchmarks.scaling.growth``).
    """

    on_disk: ClassVar[str] = "none"
    growth: ClassVar[float] = 1.0
    memory_growth: ClassVar[float] = 1.0

    def fit(self, seen: Seen, ctx: Context) -> Predictor:
        """Fit on what is visible and return a predictor for target samples."""
        raise NotImplementedError(f"{self.name} does not define fit")
