"""Series as statistics of their channels: what methods on vectors need of windows of sensors.

Of each channel (length,): mean, standard deviation, minimum, quartiles, maximum, mean absolute difference of
neighbours, and the logarithm of the energy in ``bands`` equal bands of its spectrum (frequency 0 left out); of each
pair of channels their correlation. Series of unlike length are taken as they are.

Source: the usual hand-made features of activity recognition, e.g. Bulling, Blanke & Schiele, "A tutorial on human
activity recognition using body-worn inertial sensors", ACM Computing Surveys 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.hparam import hp
from dazoo.data.raw import Ragged
from dazoo.encoders.base import Encoder, Fitted, register

EPS = 1e-8


@dataclass(frozen=True)
class FittedStatistics(Fitted):
    """Nothing is fitted but the number of ``bands``."""

    bands: int

    def __call__(self, x: Any) -> Tensor:
        rows = [torch.from_numpy(np.ascontiguousarray(r.T)) for r in x] if isinstance(x, Ragged) else None
        return statistics(x, self.bands) if rows is None else torch.cat([statistics(r[None], self.bands) for r in rows])


@register
class Statistics(Encoder):
    """Moments, quartiles, spectral energy and correlations of the channels of series."""

    takes = ("series",)
    vectors_for = ("series",)

    bands: int = hp(6, least=1, most=64, help="bands of the spectrum whose energy is taken")

    def fit(self, source: Any, target: Any) -> FittedStatistics:
        return FittedStatistics(self.bands)


def statistics(x: Tensor, bands: int) -> Tensor:
    """Of series (n, channels, length) the statistics (n, k)."""
    x = x.double()
    mean, std = x.mean(2), x.std(2, correction=0)
    quarters = torch.quantile(x, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=x.dtype), dim=2)
    moves = x.diff(dim=2).abs().mean(2) if x.shape[2] > 1 else torch.zeros_like(mean)
    power = torch.fft.rfft(x - mean[..., None], dim=2).abs().square()[..., 1:] / x.shape[2]
    if power.shape[2] == 0:
        power = torch.zeros(*x.shape[:2], 1, dtype=x.dtype)
    energy = torch.log(EPS + torch.nn.functional.adaptive_avg_pool1d(power, bands))
    z = (x - mean[..., None]) / (std[..., None] + EPS)
    i, j = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    together = (z @ z.transpose(1, 2) / x.shape[2])[:, i, j]
    return torch.cat([mean, std, *quarters, moves, energy.flatten(1), together], 1).float()
