"""No network: samples as they are, flattened to one vector each."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dazoo.nets.backbones.base import Backbone, register_backbone


class Flat(nn.Module):
    """(b, ...) -> (b, width), without parameters."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1).float()


def build(shape: tuple[int, ...], *, pretrained: bool = False) -> nn.Module:
    """Identity on vectors; images and series are flattened."""
    return Flat(math.prod(shape))


register_backbone(
    Backbone("none", frozenset({"vector", "series", "image"}), build, description="samples as they are, flattened")
)
