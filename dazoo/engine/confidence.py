"""What a model knows of its own errors: held-out samples with labels, weighted like the target.

From them come thresholds below which it gives no answer, and sets that hold the right class as often as asked. They
mean what they say as far as the weights do: where the density ratio is right, and labels given the samples are alike on
both sides. Weights are those of the samples before any transform or method: what brings domains together must not vouch
for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.portable import Portable
from dazoo.core.types import Prediction
from dazoo.ops.conformal import answer_from, prediction_sets

CUT = 30.0
FEWEST = 10
"""Rows of a domain, or held-out samples, from which anything can be told."""
MOST = 5000


@dataclass(frozen=True)
class DensityRatio(Portable):
    """w(x) = p_t(x) / p_s(x) by logistic regression, up to a factor: the mean log-odds of two halves of the rows.

    Attributes:
        mean, scale: (d,) of both domains. coef (2, d), bias (2,): of the halves. shift: log of the factor.
    """

    mean: Tensor
    scale: Tensor
    coef: Tensor
    bias: Tensor
    shift: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """Weights (n,) float64 of samples (n, d)."""
        return (self.log_odds(x).mean(1).clamp(-CUT, CUT) - self.shift).exp()

    def log_odds(self, x: Tensor) -> Tensor:
        """Log-odds (n, 2) that a sample comes from the target, by either half."""
        z = (x.detach().double() - self.mean.double()) / self.scale.double()
        return z @ self.coef.double().T + self.bias.double()


def density_ratio(source: Tensor, target: Tensor) -> tuple[DensityRatio, Tensor]:
    """The ratio of rows (n, d), (m, d), and the weights (n,) of the source's, each by the half it is not in; mean 1."""
    from sklearn.linear_model import LogisticRegression

    x = torch.cat([source, target]).detach().to("cpu", torch.float64)
    domain = np.repeat([0, 1], [len(source), len(target)])
    half = np.concatenate([np.arange(len(source)) % 2, np.arange(len(target)) % 2])
    mean, scale = x.mean(0), x.std(0, unbiased=False).clamp(min=1e-12)
    z = ((x - mean) / scale).numpy()
    made = [
        LogisticRegression(class_weight="balanced", max_iter=200).fit(z[half == h], domain[half == h]) for h in (0, 1)
    ]
    coef = torch.from_numpy(np.concatenate([m.coef_ for m in made]))
    ratio = DensityRatio(mean, scale, coef, torch.from_numpy(np.concatenate([m.intercept_ for m in made])))
    mine = ratio.log_odds(source)[torch.arange(len(source)), 1 - torch.arange(len(source)) % 2].clamp(-CUT, CUT)
    shift = float(torch.logsumexp(mine, 0)) - float(np.log(len(source)))
    return replace(ratio, shift=shift), (mine - shift).exp()


@dataclass(frozen=True)
class Confidence(Portable):
    """Held-out samples.

    Attributes:
        probs: (m, C), calibrated. y: (m,), -1 where the class is none of the C. w: (m,) weights.
        ratio: of densities of encoded samples, for weights of new ones.
        shares: (C,) ratios of class shares, target to source, where they alone differ. Without both all weigh the same.
        origin: what the samples are, for sentences.
    """

    probs: Tensor
    y: Tensor
    w: Tensor
    ratio: DensityRatio | None = None
    shares: Tensor | None = None
    origin: str = "held-out source rows"

    def abstaining(self, out: Prediction, accuracy: float) -> Prediction:
        """``out`` with ``unknown`` for samples whose top probability is too small for answers to be that often right.

        Raises:
            DazooError: ``accuracy`` is no share, or the model has a rule of its own for unknown classes.
        """
        if not 0 < accuracy < 1:
            raise DazooError(f"abstain is the share of answers that should be right, as 0.9, not {accuracy}")
        if out.unknown is not None:
            raise DazooError("this model already tells unknown samples by its own rule; leave abstain out")
        top, best = self.probs.double().max(1)
        least = answer_from(top, best == self.y, self.w, accuracy)
        doubt = 1 - out.scores.double().softmax(1).max(1).values
        return replace(out, unknown=doubt, threshold=1 - least if least < 2 else -1.0)

    def sets(self, out: Prediction, made: Tensor, alpha: float) -> Tensor:
        """Which classes (n, C) bool of encoded samples (n, d) may be right, but for a share ``alpha`` of them."""
        if not 0 < alpha < 1:
            raise DazooError(f"alpha is the share of sets that may miss the right class, as 0.1, not {alpha}")
        probs = out.scores.double().softmax(1)
        new = torch.ones(len(probs), 1, dtype=torch.float64)
        if self.ratio is not None:
            new = self.ratio(made)[:, None]
        elif self.shares is not None:
            new = self.shares.double()[None]
        return prediction_sets(probs, self.probs, self.y, self.w, new.expand(probs.shape).contiguous(), alpha)
