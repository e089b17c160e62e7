"""What a stream method is: it answers each batch of the target on arrival, and may change afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dazoo.core.handles import Handles
from dazoo.core.types import Prediction
from dazoo.methods.base_method import Method
from dazoo.nets.gradients import gradients
from dazoo.nets.parts.norm_mode import STORED, NormMode, batch_statistics, norm_layers, norms_under
from dazoo.nets.update import Update

__all__ = ["StreamMethod", "StreamState", "batch_statistics", "norm_layers"]


def _no_view() -> Tensor:
    raise NotImplementedError("there is no batch to take a view of")


@dataclass
class StreamState:
    """What a method keeps between batches, beside what it registers as parts and buffers of the network.

    Attributes:
        memory: tensors, numbers, text, and lists, tuples and dictionaries of these; an episodic stream empties it
            before each batch. It is saved with the run, so that a killed one goes on with the same bits.
        source: what ``source_stats`` read from the source, before the first batch.
        view: a random strong view (b, ...) of the batch at hand, another one each time.
        raw: the batch at hand as it came, of which ``strong`` makes random strong views, also of remembered samples.
    """

    gen: torch.Generator
    optimizer: torch.optim.Optimizer | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    view: Callable[[], Tensor] = field(default=_no_view, repr=False)
    raw: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    strong: Callable[[Tensor], Tensor] = field(default=lambda raw: raw, repr=False)
    _mover: Update | None = field(default=None, init=False, repr=False)

    def descend(self, leaves: Sequence[Tensor], loss: Tensor) -> None:
        """One step of ``optimizer`` on ``loss``, a scalar, as a function of its ``leaves``."""
        assert self.optimizer is not None
        if self._mover is None or self._mover.optimizer is not self.optimizer:
            self._mover = Update(self.optimizer)
        self._mover(leaves, gradients([loss], leaves))

    def forget(self) -> None:
        """To be called when the state of ``optimizer`` was replaced."""
        self._mover = None

    def views(self, count: int) -> Tensor:
        """``count`` views (count, b, ...) of the batch at hand."""
        return torch.stack([self.view() for _ in range(count)])


class StreamMethod(Method):
    """A method of test-time adaptation. It starts from the source's model; no batch is shown twice."""

    handles = Handles(source="model", target="stream")
    start = "source_only"
    needs_batch_norm: ClassVar[bool] = False  # whether it acts on batch normalisation; networks without are refused
    later: ClassVar[tuple[str, ...]] = ()  # buffers that models of earlier versions lack
    adapts: ClassVar[str] = ""  # what kind of layers it moves, for the error where a network has none
    needs_source_stats: ClassVar[bool] = False  # whether ``source_stats`` reads the source; its rows are marked
    # hyper-parameters at which it adapts nothing: its answers are those of the source's model under its normalisation
    still: ClassVar[dict[str, Any] | None] = None

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        """Extra parts by name, as of a gradient method."""
        return {}

    def setup(self, net: Any) -> None:
        """Called once, when the network has the source's weights."""

    def source_stats(self, net: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """What a method with ``needs_source_stats`` keeps of the source, as ``state.source``; called once, before the
        first batch of the target.

        Args:
            batches: inputs x (b, ...) and labels y (b,) of the labelled source, shuffled by the run's seed.
        """
        return {}

    def norm(self, rows: int) -> NormMode:
        """The statistics by which its network answers a batch of ``rows`` samples."""
        return STORED

    def moves(self, net: Any) -> Sequence[str]:
        """Names of the parameters that may move; all others are held fixed."""
        return ()

    def optimizer(self, parameters: list[Any]) -> torch.optim.Optimizer | None:
        """What moves them."""
        return None

    def step(self, net: Any, x: Tensor, state: StreamState, t: int) -> Prediction:
        """The answer for batch ``x`` (b, ...), the ``t``-th; may update ``net`` and ``state`` afterwards."""
        raise NotImplementedError(f"{self.name} does not define step")

    def answer(self, net: Any, x: Tensor) -> Prediction:
        """The answer of the network as it is for a batch ``x`` (b, ...), under ``norm``; changes nothing."""
        with norms_under(net, self.norm(len(x)), len(x)):
            return self.predict(net, x)

    def predict(self, net: Any, x: Tensor) -> Prediction:
        """Predict samples after the stream: body, then head, by the stored statistics."""
        features = net.body(x)
        return Prediction(net.head(features), features)

    def predict_source(self, net: Any, x: Tensor) -> Prediction:
        return self.predict(net, x)
