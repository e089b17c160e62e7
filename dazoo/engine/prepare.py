"""From raw samples to network inputs: augmentation and normalisation on the training device."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from dazoo.engine.feed import Preparer
from dazoo.nets import augment
from dazoo.nets.backbone import get_backbone
from dazoo.nets.net import NetSpec

View = Callable[[Tensor, torch.Generator], Tensor]


@lru_cache(maxsize=64)
def preparer(spec: NetSpec, mode: str, channels_last: bool) -> Preparer:
    """The views of a network's inputs: ``train`` (augmented as the recipe says), ``strong`` and ``test``.

    Args:
        mode: ``none`` or ``weak``, the augmentation of training batches.
    """
    if len(spec.shape) == 3:
        backbone = get_backbone(spec.backbone)
        size = backbone.input_shape(spec.shape, spec.image_size)[-1]
        view = augment.ImageView(size, backbone.mean, backbone.std, backbone.crop, channels_last=channels_last)
        test: Callable[[Tensor], Tensor] = partial(augment.eval_images, view=view)
        weak: View = lambda x, gen: augment.weak_images(x, view, gen)  # noqa: E731
        strong: View = lambda x, gen: augment.strong_images(x, view, gen)  # noqa: E731
    else:
        test = _floats
        flat = len(spec.shape) == 1
        weak = augment.weak_vectors if flat else augment.weak_series
        strong = augment.strong_vectors if flat else augment.strong_series
    if mode == "none":
        plain: View = lambda x, gen: test(x)  # noqa: E731
        weak = plain
    return Preparer(train=weak, strong=strong, test=test)


def _floats(x: Tensor) -> Tensor:
    return x.to(torch.float32)
