"""From raw samples to network inputs: augmentation and normalisation on the training device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from dazoo.engine.feed import Preparer
from dazoo.nets import augment
from dazoo.nets.net import NetSpec

View = Callable[[Tensor, torch.Generator], Tensor]


@lru_cache(maxsize=64)
def preparer(spec: NetSpec, mode: str, channels_last: bool, test_view: str = "centre") -> Preparer:
    """The views of a network's inputs: ``train`` (augmented as the recipe says), ``strong`` and ``test``.

    Args:
        mode: ``none``, ``weak`` or ``resized``, the augmentation of training batches.
        test_view: ``centre``, ``squashed`` or ``squashed_centre``, how images become squares (``Recipe.test_view``).
    """
    if len(spec.shape) == 3:
        backbone = spec.entry
        size = backbone.input_shape(spec.shape, spec.image_size)[-1]
        view = augment.ImageView(size, backbone.mean, backbone.std, backbone.crop, channels_last=channels_last)
        square = _same if test_view == "centre" else partial(augment.squashed, side=round(size / backbone.crop))
        whole = replace(view, crop=1.0) if test_view == "squashed" else view
        random = augment.resized_images if mode == "resized" else augment.weak_images
        test: Callable[[Tensor], Tensor] = lambda x: augment.eval_images(square(x), whole)  # noqa: E731
        weak: View = lambda x, gen: random(square(x), view, gen)  # noqa: E731
        strong: View = lambda x, gen: augment.strong_images(square(x), view, gen)  # noqa: E731
    else:
        test = _floats
        flat = len(spec.shape) == 1
        weak = augment.weak_vectors if flat else augment.weak_series
        strong = augment.strong_vectors if flat else augment.strong_series
        if spec.kind == "audio" and not flat:
            strong = augment.strong_spectrograms
        if spec.kind == "text":
            weak, strong = (lambda x, gen: test(x)), augment.strong_tokens
    if mode == "none":
        plain: View = lambda x, gen: test(x)  # noqa: E731
        weak = plain
    return Preparer(train=weak, strong=strong, test=test)


def _same(x: Tensor) -> Tensor:
    return x


def _floats(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float32 else x.to(torch.float32)
