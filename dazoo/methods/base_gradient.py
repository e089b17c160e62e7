"""What a gradient method is: named loss terms that the one training loop minimises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from dazoo.core.setting import Setting
from dazoo.core.types import Prediction
from dazoo.methods.base_method import Method

Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """One optimiser step of an iteration."""

    losses: str = "losses"  # name of the method that returns the named loss terms of this phase
    update: tuple[str, ...] = ("*",)  # names of the parts that move, "*" for all
    repeat: int = 1  # how often the phase runs per iteration
    each_source: bool = False  # it runs once for every source, with the batch's rows of that source alone
    # terms whose gradient is taken not at the parameters w but at w + r g / |g|, with g their gradient at w (sharpness-
    # aware minimisation); all other terms keep their gradient at w
    smooth: tuple[str, ...] = ()
    radius: str = ""  # name of the hyper-parameter that holds r


@dataclass(frozen=True)
class Progress:
    """Where training stands."""

    fraction: float  # in [0, 1]
    step: int
    steps: int  # of the whole training
    ramp: float  # the recipe's ramp of adversarial weights at this step, in [0, 1]


@dataclass(frozen=True)
class Batch:
    """One batch, on the training device, augmented and normalised."""

    xs: Tensor  # source samples (b, ...)
    ys: Tensor  # their labels (b,)
    ds: Tensor  # of which source they are (b,)
    xt: Tensor  # target samples (b, ...)
    s_rows: Tensor  # rows of the samples in ``Seen.source`` (b,), to look things up in ``memory``
    t_rows: Tensor  # and in ``Seen.target`` (b,)
    xs_strong: Tensor | None = None  # second, strongly augmented views where the method sets ``strong_views``
    xt_strong: Tensor | None = None
    xf: Tensor | None = None  # labelled target samples in the few-label settings
    yf: Tensor | None = None  # their labels
    xf_strong: Tensor | None = None  # their strong views
    dt: Tensor | None = None  # of which target the target samples are (b,), where the task tells targets apart
    xt_more: Tensor | None = None  # further strong views of the target (b, k - 1, ...) where ``strong_views`` is k > 1
    memory: dict[str, Tensor] = field(default_factory=dict)  # what ``refresh`` returned
    held: dict[str, Any] = field(default_factory=dict, repr=False)  # what phases of an iteration share (``features``)


class Look:
    """Full passes over the visible data in evaluation mode, made on demand for ``refresh``; rows as in ``Seen``."""

    source: tuple[Tensor, Tensor]  # features (n_s, d) and scores (n_s, C)
    target: tuple[Tensor, Tensor]
    few: tuple[Tensor, Tensor]  # of the labelled target samples
    held_out: tuple[Tensor, Tensor]  # scores and labels of source rows held out of training; of all where none are
    ys: Tensor  # labels of the source (n_s,)
    domain: Tensor  # source index of every source sample (n_s,)
    target_domain: Tensor | None  # of which target every target sample is (n_t,), where the task tells targets apart
    yf: Tensor  # labels of ``few``
    teacher: Tensor  # probabilities (n_t, C) of the source's model, for methods that may only ask it (``black_box``)
    setting: Setting  # the question that is asked
    asked: Tensor  # rows of the target whose labels were asked for by now, in the active setting
    step: int = 0  # iterations finished by now
    memory: dict[str, Tensor]  # what ``refresh`` returned last, as the steps since left it; empty at first

    def inputs(self, part: str, size: int = 256) -> Iterator[Tensor]:
        """Network inputs of ``part`` (``"source"``, ``"target"``, ``"few"``), prepared but not augmented, in chunks of
        ``size``, none of which holds a single sample where there are more."""
        raise NotImplementedError

    def warn(self, message: str) -> None:
        """Record, once, that something did not go as it should."""
        raise NotImplementedError


class GradientMethod(Method):
    """A method trained by gradients in the one training loop.

    A file shows its equation in ``losses`` and the extra parts it needs in ``build``; body, bottleneck, head, batches,
    optimiser, schedule and devices are the engine's and the same for all methods.
    """

    phases: ClassVar[tuple[Phase, ...]] = (Phase(),)  # the optimiser steps of one iteration
    strong_views: ClassVar[int] = False  # batches carry strongly augmented second views; k > 1: k of the target
    fresh: ClassVar[tuple[str, ...]] = ()  # parts that are initialised anew after a warm start (``start``)
    stackable: ClassVar[bool] = True  # members of a group may train as one batched model
    uses_source: ClassVar[bool] = True  # the losses read batches of the source
    uses_target: ClassVar[bool] = True  # and of the target; those that are not read may be left out
    classifies: ClassVar[bool] = True  # where it reads batches of the source, a term ``cls`` learns their labels
    even_sources: ClassVar[bool] = False  # of several sources, batches hold as many samples of each
    one_by_one: ClassVar[bool] = False  # of sources that are told apart, a model each is adapted; they vote
    joins_models: ClassVar[bool] = False  # or it starts from a model of each, ``net.models[i].body`` and ``.head``
    needs_batch_norm: ClassVar[bool] = False  # a network without batch normalisation in its body is refused
    later: ClassVar[tuple[str, ...]] = ()  # buffers that models of older versions lack; as ``setup`` has them
    own_norms: ClassVar[bool] = False  # statistics of the backbone follow the data even where a recipe keeps them
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

    def redraw(self, rows: Named, ys: Tensor, memory: Named, gen: Generator) -> Named:
        """Other rows for the next batch than those drawn: ``rows`` (b,) of source ``"s"``, target ``"t"``, few ``"f"``,
        as many of each. ``ys`` (n_s,) are the source's labels, ``memory`` is what ``refresh`` returned. All draws come
        from ``gen``, so that a killed run goes on with the same rows. Default: these."""
        return rows

    def pick(self, net: Any, look: Look, rows: Tensor, n: int, gen: Generator) -> Tensor:
        """In the active setting, before training and at the end of each round, without gradients: ``n`` of the target's
        ``rows`` (m,), ascending, whose labels are asked for next. ``look.asked`` are those asked before; all draws come
        from ``gen``."""
        raise NotImplementedError(f"{self.name} does not define pick")

    def combine(self, grads: Mapping[str, Sequence[Tensor | None]], names: Sequence[str]) -> list[Tensor | None]:
        """The gradient of a phase for the parameters ``names``, from those of its terms (``Phase.smooth`` is one, under
        the first's name). Default: their sum, which the engine takes in one pass. Not ``stackable`` where defined."""
        raise NotImplementedError

    def after_step(self, net: Any, b: Batch, t: Progress) -> None:
        """After each iteration, without gradients, in evaluation mode: averages, banks; not ``stackable`` then."""

    def finish(self, net: Any, look: Look) -> None:
        """Before each checkpoint's evaluation model is taken, on a copy of ``net``: weight averaging, statistics."""

    def scores(self, net: Any, features: Tensor) -> Tensor:
        """What is predicted of features (n, width), and what the terms of methods put together with this one see as the
        head's output. Default: that."""
        scores: Tensor = net.head(features)
        return scores

    def predict(self, net: Any, x: Tensor) -> Prediction:
        """Predict preprocessed target samples (n, ...) in evaluation mode. Default: body, then ``scores``."""
        features = net.body(x)
        return Prediction(self.scores(net, features), features)

    def predict_source(self, net: Any, x: Tensor) -> Prediction:
        """Predict source samples. Default: as the target's, through the body of the source where that has its own."""
        if net.body_source is None:
            return self.predict(net, x)
        features = net.body_source(x)
        return Prediction(self.scores(net, features), features)
