"""Probabilities that mean what they say on the target, as far as the source can tell.

A temperature T divides the scores, so that the weighted log loss on held-out source samples is smallest:

    T = argmin_T sum_i w_i (-log softmax(s_i / T)_{y_i}),     w_i = p_t(x_i) / p_s(x_i)

with w the density ratio of ``ops.adistance.held_out_margins``. Guo et al.: On Calibration of Modern Neural Networks.
ICML 2017. https://arxiv.org/abs/1706.04599; weights as in Park et al.: Calibrated Prediction with Covariate Shift via
Unsupervised Domain Adaptation. AISTATS 2020. https://arxiv.org/abs/2003.00343. The predicted classes stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.adaptation.judge import ENOUGH
from dazoo.core.types import Prediction, Predictor, Seen
from dazoo.engine.confidence import FEWEST as LEAST
from dazoo.engine.confidence import MOST, Confidence, density_ratio
from dazoo.ops.adistance import held_out_margins

GRID = torch.logspace(-1.5, 1.5, 121, dtype=torch.float64)
BINS = 10
CUT = 30.0
ASKED, ALPHA = (0.8, 0.9, 0.95), 0.1
"""What the card tells: of answers that are right so often, and sets that miss the right class in so many rows."""
LEFT = 0.3
"""Share of the rows that weights must leave in effect."""
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
    """Density ratios (n,) float64 with mean 1 at source rows (n, d), from target rows (m, d), flattened.

    Ratios are those of a classifier's odds, r; w = r^a with the largest exponent a in [0, 1] that leaves at least
    ``LEFT`` of the rows in effect, as far apart domains would leave one or two (Shimodaira: Improving predictive
    inference under covariate shift by weighting the log-likelihood function. 2000,
    https://doi.org/10.1016/S0378-3758(00)00115-4). With less than ``FEWEST`` rows on a side nothing can be told, and
    all weigh the same.
    """
    if min(len(source), len(target)) < FEWEST:
        return torch.ones(len(source), dtype=torch.float64)
    margin, _ = held_out_margins(source, target)
    return flattened(torch.from_numpy(np.clip(margin[: len(source)], -CUT, CUT)))


def flattened(log_ratio: Tensor) -> Tensor:
    """Weights (n,) with mean 1 from log ratios (n,), flattened until ``LEFT`` of them count."""
    n, low, high = len(log_ratio), 0.0, 1.0
    powers = torch.softmax(log_ratio, 0) * n
    if effective(powers) >= LEFT * n:
        return powers
    for _ in range(40):
        middle = (low + high) / 2
        powers = torch.softmax(middle * log_ratio, 0) * n
        low, high = (middle, high) if effective(powers) >= LEFT * n else (low, middle)
    return torch.softmax(low * log_ratio, 0) * n


def confidence_of(
    inner: Predictor,
    seen: Seen,
    made: Seen,
    shares: Tensor | None,
    few: tuple[np.ndarray, np.ndarray] | None,
    seed: int,
) -> Confidence | None:
    """What a model remembers to know its own errors by; None where too little is held out.

    Args:
        seen: samples as the method sees them. made: the same before any transform.
        shares: ratios of class shares (C,), target to source, where the diagnosis says that they alone differ.
        few: rows (k,) of the target that have a label, and their classes: ``ENOUGH`` of them take the place of the
            source's.
    """
    if few is not None and len(few[0]) >= ENOUGH:
        probs = inner.predict(seen.target.x[torch.from_numpy(few[0])]).probs
        y = torch.from_numpy(few[1])
        return Confidence(probs.detach().float(), y, torch.ones(len(y)), origin="labelled target rows")
    held = seen.source_val
    if held is None or min(len(held), len(seen.target)) < LEAST:
        return None
    rows = torch.randperm(len(held), generator=torch.Generator().manual_seed(seed))[:MOST].sort().values
    y = held.y[rows].cpu()
    probs = inner.predict_source(held.x[rows]).probs.detach().float().cpu()
    if shares is not None:
        return Confidence(probs, y, shares[y].double(), shares=shares.double())
    ratio, w = density_ratio(made.source_val.x[rows], made.target.x)  # type: ignore[union-attr]
    return Confidence(probs, y, w, ratio)


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


def calibration(inner: Predictor, probs: Tensor | None, y: Tensor, w: Tensor) -> dict[str, float]:
    """The temperature of a model and its calibration errors without and with it, on held-out rows (m,) with weights."""
    if probs is None or not len(y) or not isinstance(inner, Calibrated):
        return {}
    t = inner.temperature
    plain = (probs.double().clamp(min=1e-300).log() * t).softmax(1)
    return {"temperature": t, "before": calibration_error(plain, y, w), "after": calibration_error(probs, y, w)}


def answers_of(known: Confidence | None, out: Prediction, made: Tensor) -> dict[str, Any]:
    """What ``abstain`` and ``predict_set`` would make of encoded samples: shares of answers, sizes of sets."""
    if known is None or out.unknown is not None:
        return {}
    classes = out.scores.shape[1]
    answered = {str(a): float((known.abstaining(out, a).labels < classes).double().mean()) for a in ASKED}
    size = known.sets(out, made, ALPHA).sum(1)
    sets = {"alpha": ALPHA, "one": float((size == 1).double().mean()), "mean": float(size.double().mean())}
    return {"abstain": answered, "sets": sets}
