"""The 1D-CNN of the AdaTime benchmark for time series (Ragab et al., TKDD 2023, arXiv:2203.08321): 64-128-128.

Differs from AdaTime by one kernel size for all blocks, and by having neither batch normalisation nor dropout by
default.
"""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone, register_backbone
from dazoo.nets.parts.common import norm_of


class CNN1d(nn.Module):
    """Blocks of convolution, ReLU and max pooling by 2, then the mean over time: (b, c, l) -> (b, width)."""

    def __init__(self, channels: int, widths: tuple[int, ...], kernel: int, norm: str):
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers.append(nn.Conv1d(channels, width, kernel, padding=kernel // 2))
            layers += norm_of(norm, width, 1)
            layers += [nn.ReLU(), nn.MaxPool1d(2)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.width = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features.mean(dim=2)


def build(
    shape: tuple[int, ...], *, pretrained: bool = False, widths: tuple[int, ...], kernel: int, norm: str
) -> nn.Module:
    """The network for series (channels, length).

    Raises:
        DazooError: series too short for the number of poolings, or an unknown ``norm``.
    """
    if shape[1] < 2 ** len(widths):
        raise DazooError(f"backbone 'cnn1d' needs series of at least {2 ** len(widths)} steps, not {shape[1]}")
    return CNN1d(shape[0], tuple(widths), kernel, norm)


register_backbone(
    Backbone(
        "cnn1d",
        frozenset({"series"}),
        build,
        options={"widths": (64, 128, 128), "kernel": 5, "norm": "none"},
        description="1D-CNN 64-128-128 for time series, as in AdaTime",
    )
)
