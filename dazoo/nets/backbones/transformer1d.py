"""A small transformer for time series: patches of neighbouring steps as tokens (Nie et al., ICLR 2023,
arXiv:2211.14730), encoder blocks that begin with their normalisation, the mean over tokens.

    t_j = E x_j + p_j;   t <- t + attention(norm(t));   t <- t + W_2 GELU(W_1 norm(t))

x_j (channels patch) are the j-th ``patch`` steps of all channels together, the end of a series that fills no patch is
filled with zeros, and p_j are sines and cosines of j (Vaswani et al., 2017, arXiv:1706.03762), so that nothing depends
on the length. Differs from Nie et al. in seeing the channels together, and in having no dropout.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone, register_backbone
from dazoo.nets.parts.common import norm_of


class TokenNorm(nn.Module):
    """A normalisation of tokens (b, t, width), each token being a sample of it."""

    def __init__(self, kind: str, width: int):
        super().__init__()
        self.inner = nn.Sequential(*norm_of(kind, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.flatten(0, 1)).view_as(x)
        return out


class EncoderBlock(nn.Module):
    """Attention between tokens and a perceptron per token, both beside a skip: (b, t, width) -> (b, t, width)."""

    def __init__(self, width: int, heads: int, norm: str):
        super().__init__()
        self.heads = heads
        self.first, self.second = TokenNorm(norm, width), TokenNorm(norm, width)
        self.qkv, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        q, k, v = self.qkv(self.first(x)).view(b, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, width)
        x = x + self.joined(seen)
        out: Tensor = x + self.perceptron(self.second(x))
        return out


class Transformer1d(nn.Module):
    """Patches, encoder blocks, a last normalisation and the mean over tokens: (b, c, l) -> (b, width)."""

    def __init__(self, channels: int, width: int, depth: int, heads: int, patch: int, norm: str):
        super().__init__()
        self.patch, self.width = patch, width
        self.embed = nn.Conv1d(channels, width, patch, stride=patch)
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads, norm) for _ in range(depth)))
        self.last = TokenNorm(norm, width)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, -x.shape[2] % self.patch))
        tokens = self.embed(x).transpose(1, 2)
        tokens = tokens + positions(tokens.shape[1], self.width).to(tokens)
        features: Tensor = self.last(self.blocks(tokens))
        return features.mean(dim=1)


def positions(n: int, width: int) -> Tensor:
    """Sines and cosines (n, width) of n places, in wavelengths from 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(n)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def build(
    shape: tuple[int, ...], *, pretrained: bool = False, width: int, depth: int, heads: int, patch: int, norm: str
) -> nn.Module:
    """The network for series (channels, length).

    Raises:
        DazooError: series shorter than two patches, a width that heads do not divide, or an unknown ``norm``.
    """
    if shape[1] < 2 * patch:
        raise DazooError(
            f"backbone 'transformer1d' needs series of at least {2 * patch} steps, two patches, not {shape[1]}; "
            "choose a smaller option patch"
        )
    if width % (2 * heads):
        raise DazooError(f"backbone 'transformer1d': width {width} must be a multiple of twice the heads, {2 * heads}")
    return Transformer1d(shape[0], width, depth, heads, patch, norm)


register_backbone(
    Backbone(
        "transformer1d",
        frozenset({"series"}),
        build,
        options={"width": 64, "depth": 2, "heads": 4, "patch": 8, "norm": "layer"},
        description="small transformer for time series, patches of 8 steps as tokens",
    )
)
