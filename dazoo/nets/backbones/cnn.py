"""A small convolutional network for small images (digits, 28 to 64 pixels), with global average pooling."""

from __future__ import annotations

from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone, register_backbone
from dazoo.nets.parts.common import norm_of


class CNN(nn.Module):
    """Blocks of convolution, ReLU and 2 x 2 max pooling, then the mean over positions: (b, c, h, w) -> (b, width)."""

    def __init__(self, channels: int, widths: tuple[int, ...], kernel: int, norm: str):
        super().__init__()
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
            layers += norm_of(norm, width, 2)
            layers.append(nn.ReLU())
            if i + 1 < len(widths):
                layers.append(nn.MaxPool2d(2))
            channels = width
        self.layers = nn.Sequential(*layers)
        self.width = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features.mean(dim=(2, 3))


def build(
    shape: tuple[int, ...], *, pretrained: bool = False, widths: tuple[int, ...], kernel: int, norm: str
) -> nn.Module:
    """The network for images (channels, size, size).

    Raises:
        DazooError: images too small for the number of poolings, or an unknown ``norm``.
    """
    least = 2 ** (len(widths) - 1)
    if min(shape[1:]) < least:
        raise DazooError(f"backbone 'cnn' needs images of at least {least} pixels a side, not {shape[1:]}")
    return CNN(shape[0], tuple(widths), kernel, norm)


register_backbone(
    Backbone(
        "cnn",
        frozenset({"image"}),
        build,
        options={"widths": (32, 64, 128), "kernel": 5, "norm": "none"},
        description="small CNN 32-64-128 for small images, global average pooling",
    )
)
