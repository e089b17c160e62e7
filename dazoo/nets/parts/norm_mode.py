"""How the batch normalisations of a network take their statistics: a declared mode, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.errors import DazooError
from dazoo.ops.batch_norm import mixed_moments, normalise

KINDS = ("stored", "batch", "mixed")


@dataclass(frozen=True)
class NormMode:
    """Statistics of every batch normalisation of a network, one-dimensional bottlenecks included.

    Attributes:
        kind: ``stored``: the running ones of training; ``batch``: those of the batch at hand, which leave no trace;
            ``mixed``: ``alpha`` times the batch's plus ``1 - alpha`` times the stored ones, through which no gradient
            passes.
        unbiased: whether the batch's variance in a mixture is the unbiased one.
    """

    kind: str = "stored"
    alpha: float = 1.0
    unbiased: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not 0 <= self.alpha <= 1:
            raise DazooError(
                f"normalisation is one of {', '.join(KINDS)}, with alpha in [0, 1], not {self.kind!r} with "
                f"{self.alpha!r}"
            )


STORED, BATCH = NormMode(), NormMode("batch")


def mixed(alpha: float, unbiased: bool = True) -> NormMode:
    """``alpha`` times the moments of the batch, ``1 - alpha`` times those of the source."""
    return NormMode("mixed", alpha, unbiased)


def norm_layers(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The batch, layer and group normalisations of a network, by name."""
    return [(n, m) for n, m in net.named_modules() if isinstance(m, (_BatchNorm, nn.LayerNorm, nn.GroupNorm))]


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    """The batch normalisations of a network, of all dimensions."""
    return [m for m in net.modules() if isinstance(m, _BatchNorm)]


@contextmanager
def norms_under(net: nn.Module, mode: NormMode, rows: int) -> Iterator[None]:
    """Forward passes of ``rows`` samples under ``mode``; the stored statistics stay as they are.

    A batch of one sample has no statistics that are its own, and is normalised by the stored ones.
    """
    if mode.kind == "stored" or mode.alpha == 0:
        yield
    elif mode.kind == "mixed":
        with norms_by(net, partial(_mixed, mode)):
            yield
    else:
        with batch_statistics(net, rows):
            yield


@contextmanager
def batch_statistics(net: nn.Module, rows: int) -> Iterator[None]:
    """Batch normalisation by the statistics of the batch at hand, one-dimensional bottlenecks included; the stored ones
    stay as they are. A batch of one sample has none, and is normalised by the stored ones."""
    layers = batch_norms(net) if rows > 1 else []
    before = [(m.training, m.track_running_stats) for m in layers]
    try:
        for m in layers:
            m.training, m.track_running_stats = True, False
        yield
    finally:
        for m, (training, tracks) in zip(layers, before):
            m.training, m.track_running_stats = training, tracks


@contextmanager
def norms_by(net: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> Iterator[None]:
    """Inside the block every batch normalisation computes ``function(layer, x)``; no module is exchanged."""
    layers = batch_norms(net)
    try:
        for m in layers:
            m.forward = partial(function, m)  # type: ignore[method-assign]
        yield
    finally:
        for m in layers:
            m.__dict__.pop("forward", None)


def _mixed(mode: NormMode, layer: Any, x: Tensor) -> Tensor:
    mean, var = mixed_moments(x, layer.running_mean, layer.running_var, mode.alpha, mode.unbiased)
    return normalise(x, mean.detach(), var.detach(), layer.weight, layer.bias, layer.eps)
