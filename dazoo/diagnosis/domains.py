"""How far two samples lie apart: a classifier's held-out error, MMD and Wasserstein, each with what chance alone gives.

Every function takes rows xs (n, d) and xt (m, d) in which every feature has been divided by its pooled standard
deviation (``standardiser``), so that numbers of different data can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dazoo.ops.adistance import held_out_margins
from dazoo.ops.sliced import sliced_wasserstein

PERMUTATIONS = 300
PROJECTIONS = 64
REFERENCES = 20
BLOCK = 1024


@dataclass(frozen=True)
class DomainShift:
    """Distances between two samples.

    Attributes:
        a_distance: proxy A-distance in [0, 2], of the held-out error of a linear classifier.
        a_p: p value that the classifier tells the domains apart no better than by chance.
        mmd2: unbiased squared MMD, Gaussian kernel at the median distance. mmd_p: of its permutation test.
        wasserstein: sliced Wasserstein-2 distance in standard deviations of the projections.
        wasserstein_chance: its mean where the rows are dealt out to two samples of these sizes at random.
        overlap: effective share of the source's samples when the classifier's density ratio weighs them, times the
            share of the target that the ratio finds there; in (0, 1], 1 where the domains are not to be told apart.
    """

    a_distance: float
    a_p: float
    mmd2: float
    mmd_p: float
    wasserstein: float
    wasserstein_chance: float
    overlap: float

    @property
    def p(self) -> float:
        """p value of both tests together (Bonferroni)."""
        return min(1.0, 2 * min(self.a_p, self.mmd_p))


def standardiser(xs: Tensor, xt: Tensor) -> Callable[[Tensor], Tensor]:
    """A map of rows (n, d) to features centred and divided by their standard deviation over both samples.

    Features that are constant in both are left out.
    """
    both = torch.cat([xs, xt]).to(torch.float64)
    spread = both.amax(0) - both.amin(0)
    varies = spread > 1e-12 * both.abs().amax(0).clamp(min=1e-300)
    both = both[:, varies]
    mean = both.mean(0)
    std = (both - mean).square().mean(0).sqrt()
    return lambda x: (x.to(torch.float64)[:, varies] - mean) / std


def domain_shift(xs: Tensor, xt: Tensor, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> DomainShift:
    """All distances between two samples."""
    distance, p, overlap = classifier_test(xs, xt)
    mmd2, mmd_p = mmd_test(xs, xt, rng, permutations)
    sliced, chance = wasserstein(xs, xt, rng)
    return DomainShift(distance, p, mmd2, mmd_p, sliced, chance, overlap)


def classifier_test(xs: Tensor, xt: Tensor) -> tuple[float, float, float]:
    """Proxy A-distance, its p value, and the overlap of ``DomainShift``.

    Each half of the rows is judged by the classifier of the other half. Given that classifier its right answers are
    independent of it, so that Fisher's exact test of (domain, answer) holds for every half; p is twice the smaller one.
    Lopez-Paz and Oquab, ICLR 2017, https://arxiv.org/abs/1610.06545
    """
    from scipy.stats import hypergeom

    n, m = len(xs), len(xt)
    margin, fold = held_out_margins(xs, xt)
    is_target = np.arange(n + m) >= n
    says = margin > 0
    error = (says[:n].mean() + (~says[n:]).mean()) / 2
    tails = []
    for half in (0, 1):
        here = fold == half
        hits, named = int((says & is_target & here).sum()), int((says & here).sum())
        tails.append(float(hypergeom.sf(hits - 1, int(here.sum()), int((is_target & here).sum()), named)))
    ratio = np.exp(np.clip(margin[:n], -30.0, 30.0))
    # a ratio whose mean over the source falls short of 1 misses that much of the target
    overlap = float(ratio.sum() ** 2 / (n * (ratio**2).sum()) * min(1.0, ratio.mean()))
    return float(max(0.0, 2 * (1 - 2 * error))), min(1.0, 2 * min(tails)), overlap


def mmd_test(xs: Tensor, xt: Tensor, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> tuple[float, float]:
    """Unbiased squared MMD and the p value of its permutation test, ``(1 + #{permuted >= observed}) / (1 + B)``.

    The kernel is exp(-d^2 / (2 median d^2)) over all pairs, evaluated in blocks of rows: memory grows with (n + m)
    times the number of permutations. Gretton et al., JMLR 2012, https://jmlr.org/papers/v13/gretton12a.html
    """
    x, n, m = torch.cat([xs, xt]), len(xs), len(xt)
    total = n + m
    dealt = np.zeros((total, permutations + 1))
    dealt[:n, 0] = 1.0
    for b in range(1, permutations + 1):
        dealt[rng.permutation(total)[:n], b] = 1.0
    first = torch.from_numpy(dealt)
    few = x[torch.from_numpy(rng.permutation(total)[:500])]
    distances = torch.pdist(few)
    scale = distances[distances > 0].median().square() if bool((distances > 0).any()) else x.new_ones(())
    squares = x.square().sum(1)
    within, rows = first.new_zeros(permutations + 1), x.new_empty(total)
    for start in range(0, total, BLOCK):
        part = slice(start, start + BLOCK)
        k = torch.exp((squares[part, None] + squares - 2 * x[part] @ x.T).clamp(min=0) / (-2 * scale))
        k[torch.arange(len(k)), torch.arange(start, start + len(k))] = 0.0
        rows[part] = k.sum(1)
        within += (first[part] * (k @ first)).sum(0)
    across = (rows[:, None] * first).sum(0) - within
    other = rows.sum() - within - 2 * across
    values = within / (n * (n - 1)) + other / (m * (m - 1)) - 2 * across / (n * m)
    # rounding must not break a tie, of which small samples have many
    reached = int((values[1:] >= values[0] - 1e-12).sum())
    return float(values[0]), (1 + reached) / (1 + permutations)


def wasserstein(xs: Tensor, xt: Tensor, rng: np.random.Generator) -> tuple[float, float]:
    """Sliced Wasserstein-2 distance over random directions, and its mean over random deals of the rows.

    ``sqrt(mean_m W2^2(projection m) / mean_m variance(projection m))``. Bonneel et al., JMIV 2015,
    https://doi.org/10.1007/s10851-014-0506-3
    """
    x, n = torch.cat([xs, xt]), len(xs)
    directions = torch.from_numpy(rng.standard_normal((x.shape[1], PROJECTIONS))).to(x)
    z = x @ (directions / directions.norm(dim=0))
    unit = torch.eye(PROJECTIONS, dtype=z.dtype)
    spread = float(z.var(0).mean())

    def distance(rows: Tensor) -> float:
        return float((sliced_wasserstein(rows[:n], rows[n:], unit) / spread).sqrt())

    chance = [distance(z[torch.from_numpy(rng.permutation(len(z)))]) for _ in range(REFERENCES)]
    return distance(z), float(np.mean(chance))
