"""Probabilities that mean what they say on the target, as far as the source can tell.

A temperature T divides the scores, so that the weighted log loss on held-out source samples is smallest:

    T = argmin_T sum_i w_i (-log softmax(s_i / T)_{y_i}),     w_i = p_t(x_i) / p_s(x_i)

with w the density ratio of ``ops.adistance.held_out_margins``. Guo et al.: On Calibration of Modern Neural Networks.
ICML 2017. https://arxiv.org/abs/1706.04599; weights as in Park et al.: Calibrated Prediction with Covariate Shift via
Unsupervised Domain Adaptation. AISTATS 2020. https://arxiv.org/abs/2003.00343. The predicted classes stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dazoo.core.types import Prediction, Predictor
from dazoo.ops.adistance import held_out_margins

GRID = torch.logspace(-1.5, 1.5, 121, dtype=torch.float64)
BINS = 10
CUT = 30.0
FEWEST = 10
"""Rows of a domain from which weights mean something."""


@dataclass(frozen=True)
class Calibrated(Predictor):
    """A predictor whose scores are divided by ``temperature``."""

    inner: Predictor
    temperature: float = 1.0

    def predict(self, x: Tensor) -> Prediction:
        return self._warm(self.inner.predict(x))

    def predict_source(self, x: Tensor) -> Prediction:
        return self._warm(self.inner.predict_source(x))

    def _warm(self, out: Prediction) -> Prediction:
        return replace(out, scores=out.scores / self.temperature)

    @property
    def net(self) -> object:
        """The network of a method trained by gradients."""
        return self.inner.net  # type: ignore[attr-defined]


def weights(source: Tensor, target: Tensor) -> Tensor:
    """Density ratios (n,) float64 with mean 1 at source rows (n, d), from target rows (m, d).

    With less than ``FEWEST`` rows on a side nothing can be told, and all weigh the same.
    """
    if min(len(source), len(target)) < FEWEST:
        return torch.ones(len(source), dtype=torch.float64)
    margin, _ = held_out_margins(source, target)
    w = torch.from_numpy(np.exp(np.clip(margin[: len(source)], -CUT, CUT)))
    return w / w.mean()


def effective(w: Tensor) -> float:
    """Number of samples that weights (n,) leave in effect, (sum w)^2 / sum w^2."""
    return float(w.sum().square() / w.square().sum())


def temperature(scores: Tensor, y: Tensor, w: Tensor) -> float:
    """The temperature of scores (n, C) with labels y (n,) and weights w (n,); 1 where nothing can be told."""
    if not len(y):
        return 1.0
    scores, w = scores.double(), w / w.sum()
    loss = [torch.nn.functional.cross_entropy(scores / t, y, reduction="none") @ w for t in GRID]
    return float(GRID[int(torch.stack(loss).argmin())])


def calibration_error(probs: Tensor, y: Tensor, w: Tensor) -> float:
    """Expected calibration error of probabilities (n, C) in ten bins, samples weighted by w (n,)."""
    top, said = probs.double().max(1)
    right, w = (said == y).double(), w / w.sum()
    which = (top * BINS).long().clamp(max=BINS - 1)
    return float(sum(((top - right) * w)[which == b].sum().abs() for b in range(BINS)))
