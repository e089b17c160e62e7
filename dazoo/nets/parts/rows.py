"""Samples or thresholds that a fitted network needs to tell the unknown, saved with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Rows(nn.Module):
    """A table ``x`` of any number of rows (n, width), filled when training has ended; empty before.

    The number of rows belongs to the state, so a network that is built anew takes on that of the file it loads.
    """

    def __init__(self, width: int):
        super().__init__()
        self.x: Tensor
        self.register_buffer("x", torch.zeros(0, width))

    def set(self, x: Tensor) -> None:
        """Keep rows x (n, width)."""
        self.x = x.detach().to(self.x)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        if (found := state.get(prefix + "x")) is not None:
            self.x = self.x.new_zeros(found.shape)
        super()._load_from_state_dict(state, prefix, *rest)


class Value(nn.Module):
    """Numbers ``x`` (n,) that are set when training has ended, ``start`` before."""

    def __init__(self, *start: float):
        super().__init__()
        self.x: Tensor
        self.register_buffer("x", torch.tensor(start))

    def set(self, x: Tensor) -> None:
        """Keep numbers x (n,)."""
        self.x.copy_(x.detach())
