"""How to fit, and what a fit leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from dazoo.core.types import Predictor, Seen
from dazoo.engine.recipe import Recipe


@dataclass(frozen=True)
class Checkpoint:
    """A model at one point of training; shallow methods and streams have one, at fraction 1.

    Attributes:
        measured: metrics that the run itself took, such as its time per batch.
        seen: what the method had seen by then where that grows: with the labels that it asked for.
    """

    step: int
    fraction: float
    predictor: Predictor
    measured: dict[str, float] = field(default_factory=dict)
    seen: Seen | None = None


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves behind.

    Attributes:
        predictor: the model after the last step.
        curves: (step, value) of every loss term.
        warnings: what did not go as it should.
        info: steps, seconds, samples per second and the like; of gradient methods also ``gradient_shares``,
            ``discriminators`` and ``findings`` about the run (``engine.watch``); ``asked`` are the rows of the target
            whose labels were asked for.
    """

    predictor: Predictor
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to fit, the same for every method of a suite.

    Attributes:
        recipe: for gradient training; None fits methods that have both forms (the baselines) as shallow ones.
        classifier: what shallow methods finish with; None is logistic regression.
        backbone: registry or timm name, or a module: the first layers of the body.
        pretrained: whether the backbone starts from its pretrained weights where it has any.
        image_size: side of the square the network sees; None is the backbone's own.
        device: ``cpu`` or ``cuda``.
        checkpoints: number of evaluations during training.
        processes: how many share the rows of every batch in the backbone (``engine.parallel``), of gradient methods.
        save_every: seconds between saves of the training state. save_batches: batches of a stream between two.
        sample: samples of a domain that are taken where it stays on disk and a method needs samples in memory.
        window: samples of a domain on disk that gradient methods hold in memory at a time; None: 512 MiB of them.
    """

    recipe: Recipe | None = None
    classifier: Any = None
    backbone: str | nn.Module = "none"
    pretrained: bool = True
    image_size: int | None = None
    device: str = "cpu"
    checkpoints: int = 1
    save_every: float = 60.0
    save_batches: int = 50
    sample: int = 10_000
    processes: int = 1
    window: int | None = None
