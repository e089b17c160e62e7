"""Small network parts that methods build from: plain perceptrons, bottlenecks and heads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from dazoo.core.errors import DazooError
from dazoo.ops.adversarial import random_map


def mlp(*widths: int, norm: bool = False, final: bool = False) -> nn.Sequential:
    """A perceptron ``widths[0] -> ... -> widths[-1]`` with ReLU between the layers.

    Args:
        norm: batch normalisation before every ReLU.
        final: also a ReLU (and normalisation) after the last layer.
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (a, b) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(a, b))
        if i < last or final:
            if norm:
                layers.append(nn.BatchNorm1d(b))
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


NORMS = ("none", "batch", "layer", "group")
GROUPS = 8


def norm_of(kind: str, width: int, axes: int = 0) -> list[nn.Module]:
    """The normalisation of samples (width,) with ``axes`` further axes: one layer, or none.

    ``group`` has eight groups, or the most below that which leave two channels in each; ``layer`` is one group.

    Raises:
        DazooError: there is no such kind.
    """
    if kind not in NORMS:
        raise DazooError(f"norm must be one of {', '.join(NORMS)}, not {kind!r}")
    if kind == "none":
        return []
    if kind == "batch":
        return [(nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[axes](width)]
    if kind == "layer" and not axes:
        return [nn.LayerNorm(width)]
    fitting = [g for g in range(2, GROUPS + 1) if width % g == 0 and width >= 2 * g]
    groups = max([1, *fitting]) if kind == "group" else 1
    return [nn.GroupNorm(groups, width)]


def bottleneck(width: int, out: int, norm: str = "none", dropout: float = 0.0, relu: bool = True) -> nn.Module:
    """Linear -> [batch, layer or group normalisation] -> [ReLU] -> [dropout]; the identity when ``out`` is 0."""
    if out == 0:
        return nn.Identity()
    layers: list[nn.Module] = [nn.Linear(width, out), *norm_of(norm, out)]
    if relu:
        layers.append(nn.ReLU())
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class WeightNormLinear(nn.Module):
    """A linear layer whose rows of weights are a direction times a length: x (..., width) -> (..., out).

        w_c = length_c direction_c / |direction_c|,   length_c = |direction_c| at the start

    Salimans and Kingma, NeurIPS 2016, https://arxiv.org/abs/1602.07868
    """

    def __init__(self, width: int, out: int):
        super().__init__()
        self.in_features, self.out_features = width, out
        self.direction = nn.Parameter(torch.empty(out, width))
        self.length = nn.Parameter(torch.empty(out, 1))
        self.bias = nn.Parameter(torch.empty(out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew: weights as Glorot and Bengio (2010) draw them, the bias as ``nn.Linear`` does."""
        start = nn.Linear(self.in_features, self.out_features)
        with torch.no_grad():
            self.direction.copy_(nn.init.xavier_normal_(start.weight))
            self.length.copy_(self.direction.norm(dim=1, keepdim=True))
            self.bias.copy_(start.bias)

    @property
    def weight(self) -> Tensor:
        """The weights (out, width) as they act."""
        return self.length * functional.normalize(self.direction, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class RandomProduct(nn.Module):
    """Randomised stand-in for an outer product: (R_f f) * (R_g g) / sqrt(dim), with fixed Gaussian R_f, R_g.

    ``f`` (b, width), ``g`` (b, n_classes) -> (b, dim). Long et al., NeurIPS 2018, section 3.2.
    """

    def __init__(self, width: int, n_classes: int, dim: int):
        super().__init__()
        self.rf: Tensor
        self.rg: Tensor
        self.register_buffer("rf", torch.randn(width, dim))
        self.register_buffer("rg", torch.randn(n_classes, dim))

    def forward(self, f: Tensor, g: Tensor) -> Tensor:
        return random_map(g, f, self.rg, self.rf)


class ParallelMLP(nn.Module):
    """``k`` perceptrons ``widths[0] -> ... -> widths[-1]`` with ReLU between the layers, evaluated as one.

    x (k, b, widths[0]) -> (k, b, widths[-1]); perceptron i sees x[i] only. Initialised as ``nn.Linear`` is.
    """

    def __init__(self, k: int, *widths: int):
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(widths):
            bound = a**-0.5
            self.weights.append(nn.Parameter(torch.empty(k, a, b).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(k, 1, b).uniform_(-bound, bound)))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for i, (w, bias) in enumerate(zip(self.weights, self.biases)):
            x = x @ w + bias
            if i < last:
                x = x.relu()
        return x
