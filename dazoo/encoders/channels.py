"""Series with every channel in units of its own: (x - mean) / deviation, both of the source's samples over all times.

Series of unlike length get the length below which 95 of 100 of them stay, or ``steps``: longer ones lose their end, and
shorter ones end in zeros, which is the channel's mean. One more channel then says by 1 and 0 where a series was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.hparam import hp
from dazoo.data.raw import Ragged
from dazoo.encoders.base import Encoder, Fitted, register

SHARE = 0.95


@dataclass(frozen=True)
class FittedChannels(Fitted):
    """``mean`` and ``scale`` (channels,); ``steps`` of padded series, 0 where all have one length."""

    makes = "series"
    mean: Tensor
    scale: Tensor
    steps: int = 0

    def __call__(self, x: Any) -> Tensor:
        if isinstance(x, Ragged):
            return self._padded(x)
        if self.steps:
            x = x.float()
            return self._padded(Ragged.of([row.numpy() for row in x]))
        if x.shape[1] != len(self.mean):
            raise DazooError(f"series have {x.shape[1]} channels, not {len(self.mean)}")
        return ((x.double() - self.mean[:, None]) / self.scale[:, None]).float()

    def _padded(self, x: Ragged) -> Tensor:
        steps = self.steps or int(x.lengths.max())
        made = torch.zeros(len(x), len(self.mean) + bool(self.steps), steps)
        for row, series in zip(made, x):
            kept = torch.from_numpy(np.ascontiguousarray(series[:steps].T)).double()
            row[: len(self.mean), : kept.shape[1]] = ((kept - self.mean[:, None]) / self.scale[:, None]).float()
            if self.steps:
                row[-1, : kept.shape[1]] = 1.0
        return made


@register
class Channels(Encoder):
    """Standardised channels; series of unlike length are padded and say where they were seen."""

    takes = ("series",)
    default_for = ("series",)

    steps: int = hp(0, least=0, most=1_000_000, help="length of padded series; 0 takes that of the series")

    def fit(self, source: Any, target: Any) -> FittedChannels:
        if isinstance(source, Ragged):
            lengths = np.concatenate([source.lengths, target.lengths])
            steps = self.steps or max(8, int(np.quantile(lengths, SHARE)))
            values = torch.from_numpy(np.ascontiguousarray(source.values)).double()
        else:
            steps = 0
            values = source.double().transpose(1, 2).reshape(-1, source.shape[1])
        scale = values.std(0, correction=0)
        return FittedChannels(values.mean(0), torch.where(scale > 0, scale, torch.ones_like(scale)), steps)
