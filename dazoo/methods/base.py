"""What a method is: a frozen dataclass of hyper-parameters that turns ``Seen`` into a ``Predictor``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, dataclass_transform

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from dazoo.core.errors import DazooError
from dazoo.core.hparam import configure, hp
from dazoo.core.paper import Paper
from dazoo.core.registry import Registry
from dazoo.core.setting import UNSUPERVISED, Setting
from dazoo.core.types import Prediction, Predictor, Seen


def _derive(name: str) -> type[Method] | None:
    """``cdan+mcc`` and the like."""
    from dazoo.methods.composition.compose import composed

    return composed(name)


METHODS: Registry[type[Method]] = Registry("method", "dazoo.methods", "dazoo.methods", _derive)
T = TypeVar("T")
M = TypeVar("M", bound="Method")


class Method:
    """Base of all methods.

    Class attributes:
        name: registry name; the stem of the file, set by ``register``.
        family: the folder of the file, set by ``register`` unless the class says it.
        paper: where the method comes from.
        settings: the settings it runs in.
        targets: ``"classes"``, ``"values"`` (regression), or both.
        start: name of a method whose fitted model this one starts from (a warm start), or None.
        revision: raised by one whenever what the method computes changes under the same hyper-parameters, so that runs
            of before and after never share a key.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    paper: ClassVar[Paper]
    settings: ClassVar[frozenset[Setting]] = frozenset({UNSUPERVISED})
    targets: ClassVar[frozenset[str]] = frozenset({"classes"})
    start: ClassVar[str | None] = None
    revision: ClassVar[int] = 0


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(hp,))
def register(cls: type[M]) -> type[M]:
    """Make ``cls`` a frozen keyword-only dataclass and enter it in the registry under its file's stem."""
    module = cls.__module__.split(".")
    made = dataclass(frozen=True, kw_only=True)(cls)
    made.name = module[-1]
    if "family" not in cls.__dict__:
        inherited = next((f for b in cls.__mro__[1:] if (f := getattr(b, "family", ""))), "")
        made.family = module[-2] if module[:2] == ["dazoo", "methods"] and len(module) > 3 else inherited or "custom"
    if not made.__dict__.get("paper") and not getattr(made, "paper", None):
        raise DazooError(f"method {made.name!r} has no paper; give the class a Paper(...) with a link")
    if not (sys.modules[cls.__module__].__doc__ or cls.__doc__):
        raise DazooError(f"method {made.name!r} has no docstring; state its formula there")
    made.settings = frozenset(Setting.of(s) for s in made.settings)  # authors may write them as text
    METHODS.add(made.name, made)
    return made


def create_method(name: str, **hparams: Any) -> Method:
    """An instance of the method ``name`` with checked hyper-parameters."""
    made: Method = configure(METHODS.get(name), hparams)
    return made


# -- shallow methods ----------------------------------------------------------------------------------------------


class Domains:
    """Values of single domains, shared by all pairs in which a domain appears: its moments, its decompositions.

    They are kept for as long as the tensor of samples lives, so they may not hold that tensor or a view of it. Values
    of more than ``limit`` bytes are made and handed out, and not kept.
    """

    def __init__(self, limit: int = 32 << 20) -> None:
        self.limit = limit
        self._kept: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __call__(self, x: Tensor, key: Any, make: Callable[[], T], point: Any = None) -> T:
        """What depends on the samples ``x`` (n, ...), on what ``key`` names and on ``point``, and on nothing else; only
        the value at the last ``point`` is kept."""
        mine: dict[Any, Any] = self._kept.setdefault(x, {})
        now = (None if x.is_inference() else x._version, point)
        if key in mine and mine[key][0] == now:
            known: T = mine[key][1]
            return known
        value = make()
        if _bytes(value) <= self.limit:
            mine[key] = (now, value)
        return value


def _bytes(value: Any) -> int:
    """Bytes of the tensors in ``value``: a tensor, or a tuple or dataclass of such."""
    if isinstance(value, Tensor):
        return value.nbytes
    if dataclasses.is_dataclass(value):
        return sum(_bytes(v) for v in vars(value).values())
    return sum(map(_bytes, value)) if isinstance(value, tuple) else 0


class Memo:
    """Values shared by all runs on the same data: covariances, decompositions, kernels, costs.

    Keys must name everything the value depends on beside the data itself.

    Attributes:
        domains: values of the source or the target alone, which runs on other pairs may share too.
        shared: whether other runs share this memo, so that work which pays only for several is worth while.
    """

    def __init__(self, domains: Domains | None = None) -> None:
        self._kept: dict[Any, Any] = {}
        self.domains = Domains() if domains is None else domains
        self.shared = domains is not None

    def __call__(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        value: T = self._kept[key]
        return value


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


# -- gradient methods ---------------------------------------------------------------------------------------------


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
    ``yf`` are labelled target samples in the few-label settings, ``xf_strong`` their strong views.
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
    memory: dict[str, Tensor] = field(default_factory=dict)


class Look:
    """Full passes over the visible data in evaluation mode, made on demand for ``refresh``.

    ``source`` and ``target`` are pairs (features (n, d), scores (n, C)) in the order of ``Seen``'s rows; ``ys`` (n_s,).
    ``few`` likewise for the labelled target samples, with labels ``yf``.
    """

    source: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    few: tuple[Tensor, Tensor]
    ys: Tensor
    yf: Tensor

    def inputs(self, part: str, size: int = 256) -> Iterator[Tensor]:
        """Prepared network inputs without augmentation, in the order of ``Seen``'s rows and in chunks of ``size``.

        ``part`` is ``"source"``, ``"target"`` or ``"few"``. No chunk holds a single sample where there are more.
        """
        raise NotImplementedError


class GradientMethod(Method):
    """A method trained by gradients in the one training loop.

    A file shows its equation in ``losses`` and the extra parts it needs in ``build``; body, bottleneck, head, batches,
    optimiser, schedule and devices are the engine's and the same for all methods.

    Class attributes:
        phases: the optimiser steps of one iteration.
        strong_views: whether batches carry strongly augmented second views.
        fresh: parts that are initialised anew after a warm start (``start``).
        stackable: whether members of a group may train as one batched model.
        uses_source, uses_target: which batches the losses read; unread ones may be left out by the engine.
        needs_batch_norm: whether the method acts on batch normalisation in the body; a network without it is refused.
        own_norms: whether batch statistics are what the method is about: those of the backbone then follow the data
            even where a recipe keeps them as pretrained.
        neutral: hyper-parameters that, with all weights at 0, make the method exactly source-only (for most methods
            none beside the weights); None where the algorithm never reduces to it.
        alone: values that hyper-parameters take wherever the method is put together with another, since other values
            change how it predicts; there they cannot be set.
        discriminators: parts that, where there are such, give one logit per sample for "source", called on the rows of
            the source batch followed by those of the target batch (or on shares of these rows, one per class); the
            engine watches whether they work.
        partner: values that hyper-parameters take where the method is added to another one (``other+this``); there
            they cannot be set.
    """

    phases: ClassVar[tuple[Phase, ...]] = (Phase(),)
    strong_views: ClassVar[bool] = False
    fresh: ClassVar[tuple[str, ...]] = ()
    stackable: ClassVar[bool] = True
    uses_source: ClassVar[bool] = True
    uses_target: ClassVar[bool] = True
    needs_batch_norm: ClassVar[bool] = False
    own_norms: ClassVar[bool] = False
    neutral: ClassVar[dict[str, Any] | None] = {}
    partner: ClassVar[dict[str, Any]] = {}
    alone: ClassVar[dict[str, Any]] = {}
    discriminators: ClassVar[tuple[str, ...]] = ("disc",)

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        """Extra parts by name, for features of ``width`` and ``n_classes`` scores. Default: none."""
        return {}

    def setup(self, net: Any) -> None:
        """Called once, after all parts are built and warm-started: to copy parts, add buffers, attach penalties."""

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


def hparams_as(method: Method, **fields: Any) -> Method:
    """A copy of ``method`` with other field values (tensors included, for stacked runs)."""
    return dataclasses.replace(method, **fields)  # type: ignore[type-var]
