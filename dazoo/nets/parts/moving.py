"""Moving averages of what a batch says, kept like the statistics of batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Moving(nn.Module):
    """Named averages ``m <- decay m + (1 - decay) value``, without gradient; stored in training mode.

    ``start`` gives each name its first value. The call returns the moved averages of the values it is given.
    """

    def __init__(self, **start: Tensor):
        super().__init__()
        for name, value in start.items():
            self.register_buffer(name, value.clone())

    def forward(self, decay: float | Tensor, names: Sequence[str], *values: Tensor) -> list[Tensor]:
        moved = []
        for name, value in zip(names, values):
            old: Tensor = getattr(self, name)
            new = decay * old + (1.0 - decay) * value.detach()
            if self.training:
                with torch.no_grad():
                    old.copy_(new)
            moved.append(new)
        return moved
