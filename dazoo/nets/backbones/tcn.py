"""Temporal convolutional network (Bai, Kolter & Koltun, 2018, arXiv:1803.01271): causal convolutions with growing gaps.

Block i of width w_i looks back (kernel - 1) 2^i steps twice:

    h = ReLU(norm(conv_i(ReLU(norm(conv_i(x))))));   out = ReLU(h + skip(x))

with the identity for ``skip``, or one linear map per step where the width changes. Differs from the paper in having
neither weight normalisation nor dropout, and in the mean over all steps instead of the last step, since a window of a
recording has its label as a whole.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone, register_backbone
from dazoo.nets.parts.common import norm_of

LEAST = 4  # steps below which there is nothing to look back on


class CausalBlock(nn.Module):
    """Two causal convolutions with gaps of ``gap`` steps and a skip: (b, c, l) -> (b, width, l)."""

    def __init__(self, channels: int, width: int, kernel: int, gap: int, norm: str):
        super().__init__()
        self.before = (kernel - 1) * gap
        self.first = nn.Conv1d(channels, width, kernel, dilation=gap)
        self.first_norm = nn.Sequential(*norm_of(norm, width, 1))
        self.second = nn.Conv1d(width, width, kernel, dilation=gap)
        self.second_norm = nn.Sequential(*norm_of(norm, width, 1))
        self.skip = nn.Identity() if channels == width else nn.Conv1d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first_norm(self.first(functional.pad(x, (self.before, 0)))).relu()
        h = self.second_norm(self.second(functional.pad(h, (self.before, 0)))).relu()
        out: Tensor = (h + self.skip(x)).relu()
        return out


class TCN(nn.Module):
    """Causal blocks whose gaps double, then the mean over time: (b, c, l) -> (b, width)."""

    def __init__(self, channels: int, widths: tuple[int, ...], kernel: int, norm: str):
        super().__init__()
        inside = (channels, *widths[:-1])
        self.blocks = nn.Sequential(
            *(CausalBlock(c, w, kernel, 2**i, norm) for i, (c, w) in enumerate(zip(inside, widths)))
        )
        self.width = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(x)
        return features.mean(dim=2)


def build(
    shape: tuple[int, ...], *, pretrained: bool = False, widths: tuple[int, ...], kernel: int, norm: str
) -> nn.Module:
    """The network for series (channels, length).

    Raises:
        DazooError: series of fewer than four steps, or an unknown ``norm``.
    """
    if shape[1] < LEAST:
        raise DazooError(f"backbone 'tcn' needs series of at least {LEAST} steps, not {shape[1]}")
    return TCN(shape[0], tuple(widths), kernel, norm)


register_backbone(
    Backbone(
        "tcn",
        frozenset({"series"}),
        build,
        options={"widths": (64, 64, 128), "kernel": 7, "norm": "none"},
        description="temporal convolutional network 64-64-128 for time series, causal with growing gaps",
    )
)
