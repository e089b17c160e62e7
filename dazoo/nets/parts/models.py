"""Several whole networks side by side: a body and a head each."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


class Model(nn.Module):
    """Copies of a network's body and head: inputs (n, ...) to features (n, width) and scores (n, C)."""

    def __init__(self, net: Any, head_moves: bool = True):
        super().__init__()
        self.body = copy.deepcopy(net.body)
        self.head = copy.deepcopy(net.head)
        self.head.requires_grad_(head_moves)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return features, self.head(features)


def fresh(module: nn.Module) -> None:
    """Start every layer below ``module`` that knows how to anew, from torch's global generator."""
    for m in module.modules():
        reset = getattr(m, "reset_parameters", None)
        if callable(reset):
            reset()
