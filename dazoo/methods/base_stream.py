"""What a stream method is: it answers each batch of the target on arrival, and may change afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dazoo.core.handles import Handles
from dazoo.core.types import Prediction
from dazoo.methods.base_method import Method


@dataclass
class StreamState:
    """What a method keeps between batches; an episodic stream forgets it before each."""

    gen: torch.Generator
    optimizer: torch.optim.Optimizer | None = None
    memory: dict[str, Any] = field(default_factory=dict)


class StreamMethod(Method):
    """A method of test-time adaptation. It starts from the source's model; no batch is shown twice."""

    handles = Handles(source="model", target="stream")
    start = "source_only"
    needs_batch_norm: ClassVar[bool] = False  # whether it acts on batch normalisation; networks without are refused
    later: ClassVar[tuple[str, ...]] = ()  # buffers that models of earlier versions lack
    adapts: ClassVar[str] = ""  # what kind of layers it moves, for the error where a network has none

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        """Extra parts by name, as of a gradient method."""
        return {}

    def setup(self, net: Any) -> None:
        """Called once, when the network has the source's weights."""

    def moves(self, net: Any) -> Sequence[str]:
        """Names of the parameters that may move; all others are held fixed."""
        return ()

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer | None:
        """What moves them."""
        return None

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        """The answer for batch ``x`` (b, ...), the ``t``-th; may update ``net`` and ``state`` afterwards."""
        raise NotImplementedError(f"{self.name} does not define step")

    def predict(self, net: Any, x: Tensor) -> Prediction:
        """Predict samples after the stream: body, then head."""
        features = net.body(x)
        return Prediction(net.head(features), features)

    def predict_source(self, net: Any, x: Tensor) -> Prediction:
        return self.predict(net, x)


def norm_layers(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The batch, layer and group normalisations of a network, by name."""
    return [(n, m) for n, m in net.named_modules() if isinstance(m, (_BatchNorm, nn.LayerNorm, nn.GroupNorm))]


@contextmanager
def batch_statistics(net: nn.Module, rows: int) -> Iterator[None]:
    """Batch normalisation by the statistics of the batch at hand, one-dimensional bottlenecks included; the stored ones
    stay as they are. A batch of one sample has none, and is normalised by the stored ones."""
    layers = [m for _, m in norm_layers(net) if isinstance(m, _BatchNorm)] if rows > 1 else []
    kept = [(m.training, m.momentum, m.num_batches_tracked) for m in layers]
    try:
        for m in layers:
            m.training, m.momentum = True, 0.0
            m.num_batches_tracked = None if m.num_batches_tracked is None else m.num_batches_tracked.clone()
        yield
    finally:
        for m, (training, momentum, tracked) in zip(layers, kept):
            m.training, m.momentum, m.num_batches_tracked = training, momentum, tracked
