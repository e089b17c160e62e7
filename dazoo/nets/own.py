"""A module of one's own as the backbone of a network."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dazoo.core.errors import DazooError
from dazoo.nets.backbones.base import Backbone

OWN = "own module"


class OwnBackbone(nn.Module):
    """A copy of ``module``, its output flattened: (b, ...) -> (b, width)."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]):
        super().__init__()
        self.module = copy.deepcopy(module).to(device="cpu", dtype=torch.float32)
        self.width = _width(self.module, shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.float()).flatten(1)


def own_backbone(module: nn.Module) -> Backbone:
    """``module`` as a backbone. It sees vectors (b, d), series (b, channels, length), or images (b, channels, size,
    size) with values in [-1, 1], and starts with the weights that it has."""

    def build(shape: tuple[int, ...], *, pretrained: bool = False) -> nn.Module:
        return OwnBackbone(module, shape)

    return Backbone(OWN, frozenset({"vector", "series", "image"}), build, description="a module of one's own")


def _width(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Length of the feature vector that two samples of zeros become.

    Raises:
        DazooError: the module does not take such samples, or gives no tensor with a row for each.
    """
    name, training = type(module).__name__, module.training
    example = torch.zeros(2, *shape)
    try:
        with torch.no_grad():
            out = module.eval()(example)
    except Exception as error:
        raise DazooError(
            f"the backbone {name} fails on two samples of shape {tuple(shape)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        module.train(training)
    if not isinstance(out, Tensor) or not out.is_floating_point() or out.ndim < 2 or len(out) != 2 or not out.numel():
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise DazooError(
            f"the backbone {name} turns two samples of shape {tuple(shape)} into {found}; it must return one tensor of "
            "floats with a row per sample"
        )
    return out[0].numel()
