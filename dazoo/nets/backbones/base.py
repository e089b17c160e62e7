"""Backbones: what turns one sample into one feature vector, by name.

A file in ``dazoo/nets/backbones`` registers one ``Backbone``; every other model that timm knows is found under its timm
name. A backbone is a recipe, not a network: ``make`` builds the network for samples of a given shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.core.registry import Registry

BACKBONES: Registry[Backbone] = Registry("backbone", "dazoo.nets.backbones", "dazoo.backbones")

SHAPE_KINDS = {1: "vector", 2: "series", 3: "image"}
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Backbone:
    """How to build a network that maps one sample to one feature vector.

    Attributes:
        name: registry name, or the name of a timm model.
        kinds: shapes of samples it takes: ``vector`` (d,), ``series`` (channels, length), ``image``
            (height, width, channels). Text and audio domains count by their shape.
        build: ``build(shape, pretrained, **options)`` returns a module with an integer attribute ``width``; ``shape``
            is that of one network input: (d,), (channels, length) or (channels, size, size).
        mean, std: normalisation of image channels scaled to [0, 1].
        image_size: side of the square image the network sees by default; None keeps the shorter side of the samples.
        crop: share of the shorter side that the central crop of the evaluation view keeps.
        options: names of the options of ``build`` with their defaults.
        has_pretrained: whether pretrained weights exist.
        as_is: samples are what its weights were made for, so that their size is left as it is.
        description: one line for listings.
    """

    name: str
    kinds: frozenset[str]
    build: Callable[..., nn.Module]
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    image_size: int | None = None
    crop: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    has_pretrained: bool = False
    as_is: bool = False
    description: str = ""

    def input_shape(self, example_shape: tuple[int, ...], image_size: int | None = None) -> tuple[int, ...]:
        """Shape of one network input for samples stored as ``example_shape``.

        Images are stored as (height, width, channels) and enter the network as (channels, size, size).

        Raises:
            DazooError: samples of a shape the backbone does not take.
        """
        kind = SHAPE_KINDS.get(len(example_shape))
        if kind not in self.kinds:
            raise DazooError(
                f"backbone {self.name!r} takes {' or '.join(sorted(self.kinds))} samples, not {kind or 'samples'} of "
                f"shape {tuple(example_shape)}; use the backbone 'none' or 'mlp' for vectors, 'cnn1d' for series"
            )
        if kind != "image":
            return tuple(example_shape)
        height, width, channels = example_shape
        size = image_size or self.image_size or min(height, width)
        return (channels, size, size)

    def make(
        self, example_shape: tuple[int, ...], *, pretrained: bool = False, image_size: int | None = None, **options: Any
    ) -> nn.Module:
        """The network for samples stored as ``example_shape`` (as in ``Domain.x.shape[1:]``).

        New weights come from torch's global generator: seed it around the call (``torch.random.fork_rng``).

        Returns:
            A module (b, *input_shape) -> (b, width) with the attribute ``width``.

        Raises:
            DazooError: the backbone does not take such samples, or pretrained weights cannot be had.
            UnknownName: an option the backbone does not have.
        """
        for key in options:
            if key not in self.options:
                raise UnknownName(f"backbone {self.name!r} has no option {key!r}: {nearest(key, self.options)}")
        shape = self.input_shape(tuple(example_shape), image_size)
        if pretrained and not self.has_pretrained:
            raise DazooError(f"backbone {self.name!r} has no pretrained weights; use pretrained=False")
        return self.build(shape, pretrained=pretrained, **{**self.options, **options})


def register_backbone(backbone: Backbone) -> Backbone:
    """Add a backbone to the registry."""
    return BACKBONES.add(backbone.name, backbone)
