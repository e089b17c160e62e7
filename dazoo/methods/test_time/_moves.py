"""What methods have in common that move the scales and shifts of normalisation layers, one step of Adam per batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.methods.base import StreamMethod, StreamState
from dazoo.nets.parts.norm_mode import BATCH, NormMode, norm_layers


@dataclass(frozen=True, kw_only=True)
class MovesNorms(StreamMethod):
    """Moves gamma and beta of all normalisations; answers by the batch's statistics, from before the step.

    All such methods share the optimiser, so that their rows differ in what they minimise.
    """

    adapts: ClassVar[str] = "normalisation layers"
    still: ClassVar[dict[str, Any] | None] = {"lr": 0.0}

    lr: float = hp(1e-3, 1e-5, 1e-1, log=True, help="learning rate of Adam")

    def norm(self, rows: int) -> NormMode:
        return BATCH

    def moves(self, net: Any) -> list[str]:
        return [f"{name}.{p}" for name, layer in norm_layers(net) for p, _ in layer.named_parameters()]

    def optimizer(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr)


def moving(state: StreamState) -> list[Tensor]:
    """The parameters that the optimiser moves."""
    assert state.optimizer is not None
    return [p for group in state.optimizer.param_groups for p in group["params"]]


def descend(state: StreamState, loss: Tensor) -> None:
    """One step of the optimiser on ``loss``."""
    state.descend(moving(state), loss)


def at_start(state: StreamState) -> list[Tensor]:
    """The moving parameters as they were before the first batch; ask for them before the first step."""
    if "start" not in state.memory:
        state.memory["start"] = [p.detach().clone() for p in moving(state)]
    start: list[Tensor] = state.memory["start"]
    return start


def trained_parts(net: Any) -> list[str]:
    """Names of all parameters of body and head."""
    return [name for name, _ in net.named_parameters() if name.split(".")[0] in ("body", "head")]
