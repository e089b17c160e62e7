"""Running class proportions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Shares(nn.Module):
    """Moving average of class proportions, ``pi <- (1 - rate) pi + rate new``, from equal ones.

    Kept like the statistics of batch normalisation: stored in training mode, saved with the network, without gradient.
    """

    def __init__(self, n_classes: int):
        super().__init__()
        self.pi: Tensor
        self.register_buffer("pi", torch.full((n_classes,), 1.0 / n_classes))

    def forward(self, new: Tensor, rate: float | Tensor) -> Tensor:
        """Proportions (C,) moved towards ``new`` (C,)."""
        moved = (1.0 - rate) * self.pi + rate * new.detach().to(self.pi)
        if self.training:
            with torch.no_grad():
                self.pi.copy_(moved)
        return moved
