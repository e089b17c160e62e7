"""A small multilayer perceptron for vectors; series and images are flattened first."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from dazoo.nets.backbones.base import Backbone, register_backbone
from dazoo.nets.parts.common import norm_of


class MLP(nn.Module):
    """Linear layers with a ReLU after each, no dropout: (b, ...) -> (b, width)."""

    def __init__(self, d: int, hidden: tuple[int, ...], width: int, norm: str):
        super().__init__()
        pairs = itertools.pairwise((d, *hidden, width))
        self.layers = nn.Sequential(*(m for a, b in pairs for m in (nn.Linear(a, b), *norm_of(norm, b), nn.ReLU())))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.reshape(x.shape[0], -1))
        return features


def build(
    shape: tuple[int, ...], *, pretrained: bool = False, hidden: tuple[int, ...], width: int, norm: str
) -> nn.Module:
    """Layers d -> hidden... -> width."""
    return MLP(math.prod(shape), tuple(hidden), width, norm)


register_backbone(
    Backbone(
        "mlp",
        frozenset({"vector", "series", "image"}),
        build,
        options={"hidden": (64,), "width": 128, "norm": "none"},
        description="multilayer perceptron 64-128 with ReLU",
    )
)
