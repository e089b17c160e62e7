"""What a gradient method is: named loss terms that the one training loop minimises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from dazoo.core.types import Prediction
from dazoo.methods.base_method import Method


@dataclass(frozen=True)
class Phase:
    """One optimiser step of an iteration.

    Attributes:
        losses: name of the method that returns the named loss terms of this phase.
        update: names of the parts that move (``"*"`` for all).
        repeat: how often the phase runs per iteration.
        smooth: terms whose gradient is taken not at the parameters w but at w + r g / |g|, with g the gradient of
            these terms at w (sharpness-aware minimisation); all other terms keep their gradient at w.
        radius: name of the hyper-parameter that holds r.
    """

    losses: str = "losses"
    update: tuple[str, ...] = ("*",)
    repeat: int = 1
    smooth: tuple[str, ...] = ()
    radius: str = ""


@dataclass(frozen=True)
class Progress:
    """Where training stands: ``fraction`` in [0, 1], the ``step``, the number of ``steps``, and the recipe's ``ramp``
    of adversarial weights at this step (in [0, 1])."""

    fraction: float
    step: int
    steps: int
    ramp: float


@dataclass(frozen=True)
class Batch:
    """One batch, on the training device, augmented and normalised.

    Shapes: ``xs`` (b, ...), ``ys`` (b,), ``ds`` (b,) source index, ``xt`` (b, ...); ``s_rows``/``t_rows`` (b,) are the
    samples' rows in ``Seen.source``/``Seen.target``, to look things up in ``memory`` (what ``refresh`` returned).
    ``xs_strong``/``xt_strong`` are second, strongly augmented views where the method sets ``strong_views``; ``xf``,
    ``yf`` are labelled target samples in the few-label settings, ``xf_strong`` their strong views. ``xt_more``
    (b, k - 1, ...) are further strong views of the target where ``strong_views`` is k > 1.
    """

    xs: Tensor
    ys: Tensor
    ds: Tensor
    xt: Tensor
    s_rows: Tensor
    t_rows: Tensor
    xs_strong: Tensor | None = None
    xt_strong: Tensor | None = None
    xf: Tensor | None = None
    yf: Tensor | None = None
    xf_strong: Tensor | None = None
    xt_more: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)


class Look:
    """Full passes over the visible data in evaluation mode, made on demand for ``refresh``.

    ``source`` and ``target`` are pairs (features (n, d), scores (n, C)) in the order of ``Seen``'s rows; ``ys`` (n_s,).
    ``few`` likewise for the labelled target samples, with labels ``yf``. ``teacher`` (n_t, C) are the probabilities
    that the source's model gives to the target, for methods that may only ask it (``handles`` of ``black_box`` alone).
    ``step``: iterations finished when ``refresh`` is called.
    ``memory`` is what ``refresh`` returned last, as the steps since left it; empty at first.
    """

    source: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    few: tuple[Tensor, Tensor]
    ys: Tensor
    yf: Tensor
    teacher: Tensor
    step: int = 0
    memory: dict[str, Tensor]

    def inputs(self, part: str, size: int = 256) -> Iterator[Tensor]:
        """Prepared network inputs without augmentation, in the order of ``Seen``'s rows and in chunks of ``size``.

        ``part`` is ``"source"``, ``"target"`` or ``"few"``. No chunk holds a single sample where there are more.
        """
        raise NotImplementedError


class GradientMethod(Method):
    """A method trained by gradients in the one training loop.

    A file shows its equation in ``losses`` and the extra parts it needs in ``build``; body, bottleneck, head, batches,
    optimiser, schedule and devices are the engine's and the same for all methods.

    The attributes are what a method declares of itself; hyper-parameters follow them in its file.
    """

    phases: ClassVar[tuple[Phase, ...]] = (Phase(),)  # the optimiser steps of one iteration
    strong_views: ClassVar[int] = False  # batches carry strongly augmented second views; k > 1: k of the target
    fresh: ClassVar[tuple[str, ...]] = ()  # parts that are initialised anew after a warm start (``start``)
    stackable: ClassVar[bool] = True  # members of a group may train as one batched model
    # which batches the losses read; the engine may leave out those that are not
    uses_source: ClassVar[bool] = True
    uses_target: ClassVar[bool] = True
    # it acts on batch normalisation in the body, so a network without it is refused; its statistics are what the method
    # is about, so those of the backbone follow the data even where a recipe keeps them as pretrained
    needs_batch_norm: ClassVar[bool] = False
    own_norms: ClassVar[bool] = False
    # hyper-parameters that, with all weights at 0, make it exactly source-only; None where it never reduces to that
    neutral: ClassVar[dict[str, Any] | None] = {}
    # values of hyper-parameters that cannot be set where it is put together with another method, ``this+other`` or
    # ``other+this`` (other values of ``alone`` change how it predicts), and where it is the one added, ``other+this``
    alone: ClassVar[dict[str, Any]] = {}
    partner: ClassVar[dict[str, Any]] = {}
    # parts, where there are such, that give a logit per sample for "source", on rows of source, then target (or shares
    # of them, one per class); the engine watches whether they work
    discriminators: ClassVar[tuple[str, ...]] = ("disc",)

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        """Extra parts by name, for features of ``width`` and ``n_classes`` scores. Default: none."""
        return {}

    def setup(self, net: Any) -> None:
        """Called once, after all parts are built and warm-started: to copy parts, add buffers, attach penalties."""

    @property
    def idle(self) -> bool:
        """Whether these hyper-parameters leave nothing to learn: the model then stays, bit for bit, what it starts
        from, while weight decay and batch statistics would move it."""
        return False

    def part_lr(self) -> dict[str, float]:
        """Learning-rate multipliers by part (``"body"``, ``"head"``, ``"disc"``); 0 keeps a part fixed."""
        return {}

    def resting(self, net: Any, t: Progress) -> frozenset[str]:
        """Names of parameters that do not move at this point of training: no gradient, no weight decay, no momentum."""
        return frozenset()

    def losses(self, net: Any, b: Batch, t: Progress) -> dict[str, Tensor]:
        """The named, weighted terms whose sum is minimised."""
        raise NotImplementedError(f"{self.name} does not define losses")

    def refresh(self, net: Any, look: Look) -> dict[str, Tensor]:
        """Per epoch: tensors for ``Batch.memory`` (pseudo-labels, centroids, banks). Default: none."""
        return {}

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        """Other rows for the next batch than those drawn at random; as many of each domain. Default: these.

        Args:
            rows: of ``"s"`` source, ``"t"`` target (and ``"f"`` labelled target) samples, (b,) each.
            ys: labels of all source samples (n_s,).
            memory: what ``refresh`` returned.
            gen: draws from no other generator, so that a killed run goes on with the same rows.
        """
        return rows

    def combine(self, grads: Mapping[str, Sequence[Tensor | None]], names: Sequence[str]) -> list[Tensor | None]:
        """The gradient of a phase from those of its terms. Default: their sum, which the engine takes in one pass.

        Args:
            grads: by term (that of ``Phase.smooth`` together under the first's name) the gradients of all parameters.
            names: of the parameters, in this order.

        Sets ``stackable = False`` if defined.
        """
        raise NotImplementedError

    def after_step(self, net: Any, b: Batch, t: Progress) -> None:
        """After each iteration, without gradients and in evaluation mode: moving averages, banks.

        Sets ``stackable = False`` if defined.
        """

    def finish(self, net: Any, look: Look) -> None:
        """Before each checkpoint's evaluation model is taken, on a copy of ``net``: weight averaging, statistics."""

    def predict(self, net: Any, x: Tensor) -> Prediction:
        """Predict preprocessed target samples (n, ...) in evaluation mode. Default: body, then head."""
        features = net.body(x)
        return Prediction(net.head(features), features)

    def predict_source(self, net: Any, x: Tensor) -> Prediction:
        """Predict source samples; override where source and target have different bodies."""
        return self.predict(net, x)
