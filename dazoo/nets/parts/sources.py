"""What is kept of several sources while a network learns from them, like the statistics of batch normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.ops.generalisation import group_weights


class SourceWeights(nn.Module):
    """Weights q (M,) of the sources, equal at first, that move towards those of high loss (``group_weights``).

    Kept in training mode, saved with the network, without gradient.
    """

    def __init__(self, n_sources: int):
        super().__init__()
        self.q: Tensor
        self.register_buffer("q", torch.full((n_sources,), 1.0 / n_sources))

    def forward(self, losses: Tensor, there: Tensor, eta: float | Tensor) -> Tensor:
        """The moved weights (M,), by losses (M,) of the sources that are there (M,)."""
        moved = group_weights(self.q, losses, there, eta)
        if self.training:
            with torch.no_grad():
                self.q.copy_(moved)
        return moved


class SourceVariances(nn.Module):
    """Moving averages (M, p) of gradient variances, from 0; what is passed on keeps the scale of the new gradient.

    v <- decay v + (1 - decay) new;   the call returns v / (1 - decay), with the gradient of ``new`` alone
    """

    def __init__(self, n_sources: int, size: int):
        super().__init__()
        self.v: Tensor
        self.register_buffer("v", torch.zeros(n_sources, size))

    def forward(self, new: Tensor, there: Tensor, decay: float | Tensor) -> Tensor:
        """Averages (M, p) with ``new`` (M, p) of the sources that are there (M,); those of others stay."""
        moved = torch.where(there[:, None] > 0, decay * self.v + (1.0 - decay) * new, self.v)
        if self.training:
            with torch.no_grad():
                self.v.copy_(moved.detach())
        return moved / (1.0 - decay)
