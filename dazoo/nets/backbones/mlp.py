"""A small multilayer perceptron for vectors; series and images are flattened first."""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from dazoo.nets.backbones.base import Backbone, register_backbone


class MLP(nn.Module):
    """Linear layers with a ReLU after each, no normalisation, no dropout: (b, ...) -> (b, width)."""

    def __init__(self, d: int, hidden: tuple[int, ...], width: int):
        super().__init__()
        sizes = (d, *hidden, width)
        self.layers = nn.Sequential(*(m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.reshape(x.shape[0], -1))
        return features


def build(shape: tuple[int, ...], *, pretrained: bool = False, hidden: tuple[int, ...], width: int) -> nn.Module:
    """Layers d -> hidden... -> width."""
    return MLP(math.prod(shape), tuple(hidden), width)


register_backbone(
    Backbone(
        "mlp",
        frozenset({"vector", "series", "image"}),
        build,
        options={"hidden": (64,), "width": 128},
        description="multilayer perceptron 64-128 with ReLU",
    )
)
