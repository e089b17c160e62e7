"""Fitted models as the harness holds them: a network with its preprocessing, or a shallow pipeline."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core import hparam
from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError, NonFiniteError
from dazoo.core.types import Prediction, Predictor
from dazoo.data.arrays import numbers
from dazoo.engine.feed import Preparer
from dazoo.engine.on_disk import predict_blocks
from dazoo.engine.prepare import preparer
from dazoo.engine.units import Units
from dazoo.methods.base import METHODS, GradientMethod, StreamMethod
from dazoo.nets.net import Net, NetSpec, build_net
from dazoo.nets.own import OWN
from dazoo.nets.saved import SavedModule, saved


@dataclass(frozen=True, repr=False)
class NetPredictor(Predictor):
    """A trained network. ``state`` holds its tensors; the network itself is rebuilt from ``spec`` when first used.

    Attributes:
        method: registry name. hparams: its hyper-parameters. spec: ``NetSpec`` as JSON.
        state: parameters and buffers by name.
        units: in which a regression model was trained (``engine.units``); None: those of the data.
        unsure: whether samples may be of no known class; where the method does not say which, the entropy of its
            probabilities does (``by_entropy``).
        own: a body of the user's as data, where it can be (``nets.saved``).
    """

    method: str
    hparams: dict[str, Any]
    spec: dict[str, Any]
    state: dict[str, Tensor]
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    units: Units | None = None
    unsure: bool = False
    own: SavedModule | None = None

    @staticmethod
    def of(
        method: GradientMethod | StreamMethod,
        net: Net,
        spec: NetSpec,
        recipe: dict[str, Any],
        prepare: Preparer,
        units: Units | None = None,
        unsure: bool = False,
    ) -> NetPredictor:
        """A predictor around a network that will not be trained further."""
        state = {k: v.detach() for k, v in net.state_dict().items()}
        own, why = (None, "") if spec.own is None else saved(spec.own)
        made = NetPredictor(method.name, hparam.values(method), spec.to_json(), state, recipe, units, unsure, own)
        object.__setattr__(made, "_why", why)
        object.__setattr__(made, "_live", (method, net.eval(), prepare))
        object.__setattr__(made, "_own", spec.own)
        return made

    def __repr__(self) -> str:
        n = sum(v.numel() for v in self.state.values())
        return f"<network of {self.method}: backbone {self.spec['backbone']}, {n} numbers>"

    def __getstate__(self) -> dict[str, Any]:
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        state = {**fields, "state": {k: v.cpu() for k, v in self.state.items()}}
        return {**state, "_own": self._own} if self.has_own_module else state  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            object.__setattr__(self, key, value)

    @property
    def has_own_module(self) -> bool:
        """Whether the body is a module of the user's."""
        return bool(self.spec["backbone"] == OWN)

    def check_savable(self) -> None:
        if self.has_own_module and self.own is None:
            raise DazooError(
                f"this network of your own cannot be saved in a model file, which holds no code: "
                f"{getattr(self, '_why', '')}. "
                "Or keep the weights with torch.save(model.net.state_dict(), path), or, where you trust the file, "
                "the model with joblib.dump(model, path)"
            )

    @property
    def live(self) -> tuple[GradientMethod | StreamMethod, Net, Preparer]:
        if not hasattr(self, "_live"):
            method = hparam.configure(METHODS.get(self.method), self.hparams)
            kept = None if self.own is None else self.own.module
            spec = NetSpec.from_json(self.spec, getattr(self, "_own", kept))
            net = build_net(spec, 0, method.build, pretrained=False)
            method.setup(net)
            try:
                later = {k: v for k, v in net.state_dict().items() if k in method.later}
                net.load_state_dict({**later, **self.state})
            except RuntimeError as error:
                raise DazooError(f"the model does not fit its network ({error}); fit and save it again") from error
            prepare = preparer(spec, "none", True, self.recipe.get("test_view", "centre"))
            object.__setattr__(self, "_live", (method, net.eval(), prepare))
        live: tuple[GradientMethod | StreamMethod, Net, Preparer] = self._live  # type: ignore[attr-defined]
        return live

    @property
    def net(self) -> Net:
        return self.live[1]

    def predict(self, x: Tensor) -> Prediction:
        if isinstance(x, Blocks):
            return predict_blocks(self.predict, x)
        method, net, prepare = self.live
        return self._told(run_batched(lambda b: method.predict(net, b), net, prepare, samples(x)))

    def predict_source(self, x: Tensor) -> Prediction:
        if isinstance(x, Blocks):
            return predict_blocks(self.predict_source, x)
        method, net, prepare = self.live
        return self._told(run_batched(lambda b: method.predict_source(net, b), net, prepare, samples(x)))

    def _told(self, out: Prediction) -> Prediction:
        return told(_in_units(out, self.units), self.unsure)


def samples(x: Any) -> Tensor:
    """Samples (n, ...) in any form that ``dazoo.data.arrays`` takes.

    Raises:
        DazooError: ``x`` holds no numbers.
    """
    found, _ = numbers(x, "the array of samples")
    return found if found.is_floating_point() or found.dtype == torch.uint8 else found.double()


def run_batched(call: Any, net: Net, prepare: Preparer, x: Tensor, size: int | None = None) -> Prediction:
    """``call`` on prepared chunks of ``x``, without gradients; results on the network's device.

    Raises:
        DazooError: ``x`` has another sample shape than the network was built for, or holds NaN.
    """
    device = next(net.parameters()).device
    size = size or (64 if x.ndim > 3 else 8192)
    if len(x) == 0:
        return _no_rows(lambda one: run_batched(call, net, prepare, one, size), x)
    parts = []
    with torch.no_grad():
        for start in range(0, len(x), size):
            try:
                out = call(prepare.test(x[start : start + size].to(device)))
            except RuntimeError as error:
                if "shape" in str(error) or "size" in str(error):
                    raise DazooError(f"samples of shape {tuple(x.shape[1:])} do not fit this model: {error}") from error
                raise
            parts.append(out)
    merged = Prediction.joined(parts).apply(lambda v: v.float() if v.is_floating_point() else v)
    if not bool(torch.isfinite(merged.scores).all()):
        raise NonFiniteError("the model gives NaN or infinite scores; its training diverged or the samples hold NaN")
    return merged


@dataclass(frozen=True)
class ShallowPredictor(Predictor):
    """A shallow model on float64 vectors; takes vectors of any float type and device.

    ``units`` of its values and ``unsure`` are as in ``NetPredictor``.
    """

    inner: Predictor
    units: Units | None = None
    unsure: bool = False

    def predict(self, x: Tensor) -> Prediction:
        return self._answer(self.inner.predict, x)

    def predict_source(self, x: Tensor) -> Prediction:
        return self._answer(self.inner.predict_source, x)

    def _answer(self, call: Callable[[Tensor], Prediction], x: Any) -> Prediction:
        if isinstance(x, Blocks):
            return predict_blocks(lambda block: self._answer(call, block), x)
        vectors = _vectors(x)
        with np.errstate(all="ignore"):
            out = _finite(call(vectors)) if len(vectors) else _no_rows(call, vectors)
        return told(_in_units(out, self.units), self.unsure)


def told(out: Prediction, unsure: bool) -> Prediction:
    """``out`` as the task asks: with unknown samples where there may be some; else every sample is of a known class."""
    return by_entropy(out) if unsure else dataclasses.replace(out, threshold=None)


def by_entropy(out: Prediction, threshold: float = 0.5) -> Prediction:
    """``out`` with ``unknown = H(softmax(scores)) / ln K`` in [0, 1], where it says nothing of unknown samples itself.

    A fixed rule for methods of the closed set: above half of the largest entropy, a sample is of no known class.
    """
    if out.unknown is not None or out.of_values:
        return out
    p = out.scores.double().log_softmax(1)
    unknown = -(p.exp() * p).sum(1) / math.log(max(p.shape[1], 2))
    return dataclasses.replace(out, unknown=unknown.to(out.scores.dtype), threshold=threshold)


def _no_rows(call: Callable[[Tensor], Prediction], x: Tensor) -> Prediction:
    """The prediction of no samples ``x`` (0, ...): what ``call`` makes of one, without its row."""
    one = call(x.new_zeros(1, *x.shape[1:]))
    return one.rows(slice(0))


def _in_units(out: Prediction, units: Units | None) -> Prediction:
    return out if units is None else units.restore(out)


def _vectors(x: Any) -> Tensor:
    x = samples(x)
    if x.ndim != 2:
        raise DazooError(f"this model takes vectors (n, d), not samples of shape {tuple(x.shape[1:])}")
    return x.to(torch.float64)


def _finite(out: Prediction) -> Prediction:
    if not bool(torch.isfinite(out.scores).all()):
        raise NonFiniteError("the model gives NaN or infinite scores; check the samples for NaN and extreme values")
    return out


def frozen_copy(net: Net) -> Net:
    """A copy in evaluation mode that later training steps do not touch."""
    twin = copy.deepcopy(net).eval()
    for p in twin.parameters():
        p.requires_grad_(False)
    return twin
