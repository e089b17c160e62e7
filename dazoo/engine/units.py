"""Units of regression targets: methods learn standardised values, models speak in those of the data."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.portable import Portable
from dazoo.core.types import Prediction, Seen


@dataclass(frozen=True)
class Units(Portable):
    """A value is ``mean + scale * z``, z what a method learns; a ``scale`` of 0 belongs to constant targets.

    Squared error has gradients in units of the data, and learning rates have none: without this step, one recipe
    learns targets of deviation 1 alone. The numbers are of double precision, since an offset of 1e7 leaves single
    precision no room for the values. The sign of ``scale`` follows the first value that lies well off the mean, so that
    a network learns the same from y and from -y.
    """

    mean: float = 0.0
    scale: float = 1.0

    @staticmethod
    def of(y: Tensor) -> Units:
        """Mean and (signed) standard deviation of the values y (n,), in double precision and of any size."""
        y = y.detach().to("cpu", torch.float64)
        peak = float(y.abs().max())
        if peak == 0:
            return Units(0.0, 0.0)
        part = y / peak  # squares of what lies in [-1, 1] neither overflow nor vanish
        mean, scale = float(part.mean()), float(part.std(correction=0))
        if scale <= 4 * sys.float_info.epsilon:  # what differs by rounding is constant
            return Units(float(y[0]), 0.0)
        first = part[int(((part - mean).abs() > scale / 2).to(torch.int8).argmax())]
        return Units(mean * peak, scale * peak if first > mean else -scale * peak)

    def standardise(self, y: Tensor) -> Tensor:
        """z of the values y, in double precision; zeros where targets are constant."""
        y = y.to(torch.float64)
        return (y - self.mean) / self.scale if self.scale else torch.zeros_like(y)

    def restore(self, out: Prediction) -> Prediction:
        """A network's prediction in the units of the data, in double precision."""
        return Prediction(self.mean + self.scale * out.scores.to(torch.float64), out.features)


def units_of(seen: Seen, uses_source: bool, start: Units | None = None) -> Units | None:
    """The units in which a method learns: those of the labels it is trained on; None for classes.

    Args:
        uses_source: whether it is trained on the source's labels; else on the target's few, where there are any.
        start: the units of the model it begins from, which are those of its weights.
    """
    if not seen.regression:
        return None
    if start is not None and start.scale:
        return start
    parts = [seen.source, seen.few] if uses_source or seen.few is None else [seen.few, seen.source]
    found = [Units.of(part.y) for part in parts if part is not None and len(part)]
    return next((u for u in found if u.scale), found[0] if found else Units())
