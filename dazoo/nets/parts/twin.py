"""Copies of a network that no gradient moves: teachers and the models that training started from."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Twin(nn.Module):
    """Body and head of a network as they are now, without gradients; scores and features of inputs (n, ...).

    Args:
        net: a ``Net``; nothing of it is shared.
        still: evaluation mode for good, as fits a model that stays what it was. A teacher that follows its student
            normalises by its own batches instead, and so collects statistics of the domain it sees.

    Attributes:
        kept: what need be computed only once because the twin does not move; not part of the state.
    """

    def __init__(self, net: Any, still: bool = True):
        super().__init__()
        self.body = copy.deepcopy(net.body)
        self.head = copy.deepcopy(net.head)
        self.still = still
        self.kept: dict[str, Tensor] = {}
        self.requires_grad_(False)
        self.train(not still)

    def train(self, mode: bool = True) -> Twin:
        super().train(mode and not self.still)
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (n, C) and features (n, width)."""
        with torch.no_grad():
            features = self.body(x)
            return self.head(features), features

    @torch.no_grad()
    def follow(self, net: Any, decay: float | Tensor) -> None:
        """Move every parameter towards the network's: ``decay * own + (1 - decay) * net``."""
        for part in ("body", "head"):
            for mine, other in zip(getattr(self, part).parameters(), getattr(net, part).parameters()):
                mine.lerp_(other, 1.0 - decay)
