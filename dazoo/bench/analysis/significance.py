"""Tests of significance between methods over tasks.

The frequentist part follows J. Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7, 2006,
https://www.jmlr.org/papers/v7/demsar06a.html); the Bayesian signed-rank test follows A. Benavoli, G. Corani, J. Demsar
and M. Zaffalon, "Time for a Change" (JMLR 18, 2017, https://www.jmlr.org/papers/v18/16-305.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 20_000
SEED = 20060101
SMALL = 13
"""Up to so many differences with ties or zeros, p values come from all signs; beyond, from the normal approximation."""
LEVEL = 0.05
ENOUGH = 6
"""Fewest tasks with which a two-sided signed-rank test can fall below ``LEVEL``: ``2 / 2^6 < 0.05 < 2 / 2^5``."""
PRIOR = 0.5
"""Weight of the one pseudo-observation of the Bayesian test, in observations."""


def wilcoxon(differences: np.ndarray) -> tuple[float, float]:
    """Two-sided Wilcoxon signed-rank test that paired ``differences`` (n,) are symmetric around zero.

    The ranks of zero differences are shared between both signs, as the paper advises.

    Returns:
        The statistic ``T = min(R+, R-)`` and the p value, exact up to 50 differences, with zeros or ties up to 13;
        ``p = 1`` where all differences are zero, NaN where there are none.
    """
    from scipy.stats import wilcoxon as signed_rank

    if not len(differences):
        return float("nan"), float("nan")
    if not np.any(differences):
        n = len(differences)
        return n * (n + 1) / 4, 1.0
    n = len(differences)
    tied = len(np.unique(np.abs(differences))) < n or not np.all(differences)
    if n <= SMALL and tied:
        return _by_all_signs(np.asarray(differences, dtype=float))
    found = signed_rank(differences, zero_method="zsplit")
    return float(found.statistic), float(found.pvalue)


def signed_ranks(differences: np.ndarray) -> float:
    """``R+ - R-``: above zero where the differences (n,) lean to the positive side."""
    from scipy.stats import rankdata

    return float((np.sign(differences) * rankdata(np.abs(differences))).sum())


def _by_all_signs(differences: np.ndarray) -> tuple[float, float]:
    """Statistic and exact p value from all ``2^n`` signs; SciPy does the same with ties, a hundred times slower."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(differences))
    zeros = float(ranks[differences == 0].sum()) / 2
    ranks, above = ranks[differences != 0], differences[differences != 0] > 0
    sums = np.zeros(1)
    for rank in ranks:
        sums = np.concatenate([sums, sums + rank])
    plus = float(ranks[above].sum())
    # ranks are multiples of one half, so sums are exact
    p = 2 * min(float((sums <= plus).mean()), float((sums >= plus).mean()))
    return min(plus, float(ranks.sum()) - plus) + zeros, min(p, 1.0)


@dataclass(frozen=True)
class Posterior:
    """Probabilities that the first is worse, practically equal, and better; they sum to one."""

    worse: float
    equal: float
    better: float


def bayesian_signed_rank(
    differences: np.ndarray, rope: float, draws: int = DRAWS, seed: int = SEED, prior: float = PRIOR
) -> Posterior:
    r"""Bayesian signed-rank test with a region of practical equivalence.

    With :math:`z_0 = 0` of prior weight ``s`` beside the differences :math:`z_1..z_n` and Dirichlet weights
    :math:`w \sim \mathrm{Dir}(s, 1, ..., 1)`, every draw gives the three shares

    .. math:: \theta_{better} = \sum_{ij} w_i w_j [z_i + z_j > 2r], \quad
              \theta_{worse} = \sum_{ij} w_i w_j [z_i + z_j < -2r], \quad
              \theta_{equal} = 1 - \theta_{better} - \theta_{worse},

    and a hypothesis' probability is how often its share is the largest.

    Args:
        differences: (n,) of first minus second, positive where the first is better.
        rope: half-width ``r`` of the region, in units of the differences.
    """
    rng = np.random.default_rng(seed)
    z = np.concatenate([[0.0], differences])
    total = z[:, None] + z
    alpha = np.ones(len(z))
    alpha[0] = prior
    counts = np.zeros(3)
    size = max(1, 4_000_000 // len(z))
    for start in range(0, draws, size):
        w = rng.dirichlet(alpha, min(size, draws - start))
        worse = ((w @ (total < -2 * rope)) * w).sum(1)
        better = ((w @ (total > 2 * rope)) * w).sum(1)
        shares = np.stack([worse, 1 - worse - better, better])
        counts += np.bincount(shares.argmax(0), minlength=3)
    worse, equal, better = counts / draws
    return Posterior(float(worse), float(equal), float(better))


@dataclass(frozen=True)
class Friedman:
    """Friedman's test over ``n`` tasks and ``k`` methods, with Iman and Davenport's better-behaved statistic.

    Attributes:
        ranks: mean rank of each method (k,), 1 is best.
        chi2, p: Friedman's statistic and its p value. f, f_p: Iman and Davenport's.
    """

    ranks: np.ndarray
    n: int
    k: int
    chi2: float
    p: float
    f: float
    f_p: float


def friedman(scores: np.ndarray, higher_is_better: bool = True) -> Friedman:
    r"""Friedman's test that all methods are equal.

    .. math:: \chi^2_F = \frac{12 n}{k (k+1)} \Big( \sum_j R_j^2 - \frac{k (k+1)^2}{4} \Big), \qquad
              F_F = \frac{(n-1) \chi^2_F}{n (k-1) - \chi^2_F}

    as in the paper, without the correction for ties that ``scipy.stats.friedmanchisquare`` makes; ties share ranks.

    Args:
        scores: (methods, tasks), without NaN.
    """
    from scipy.stats import chi2 as chi2_law
    from scipy.stats import f as f_law

    from dazoo.bench.analysis.statistics import mean_ranks

    k, n = scores.shape
    ranks = mean_ranks(scores, higher_is_better)
    chi2 = 12 * n / (k * (k + 1)) * (float((ranks**2).sum()) - k * (k + 1) ** 2 / 4)
    # rounding must not turn identical rankings into a negative rest
    rest = max(n * (k - 1) - chi2, 0.0)
    f = (n - 1) * chi2 / rest if rest > 1e-9 else float("inf")
    f_p = float(f_law.sf(f, k - 1, (k - 1) * (n - 1))) if n > 1 else float("nan")
    return Friedman(ranks, n, k, chi2, float(chi2_law.sf(chi2, k - 1)), f, f_p)


def critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    r"""Nemenyi's critical difference of mean ranks of ``k`` methods over ``n`` tasks.

    .. math:: CD = q_\alpha \sqrt{k (k+1) / (6 n)}

    with :math:`q_\alpha` the studentised range's quantile over :math:`\sqrt 2`.
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down correction: adjusted p values in the order given; NaN stays NaN and counts as no test."""
    values = np.asarray(p, dtype=float)
    out = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def cliques(ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """The maximal groups of methods whose mean ranks lie within ``difference``.

    Args:
        ranks: sorted mean ranks (k,).

    Returns:
        First and last position of every group of at least two, none inside another.
    """
    found: list[tuple[int, int]] = []
    for i, low in enumerate(ranks):
        j = int(np.searchsorted(ranks, low + difference, side="right")) - 1
        if j > i and (not found or j > found[-1][1]):
            found.append((i, j))
    return found
