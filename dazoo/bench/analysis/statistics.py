"""Numbers over many runs: bootstrap intervals and mean ranks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

GRID = 1 << 14
"""Fewest positions of the grid on which the bootstrap distribution is computed."""
SEED = 20240229


def bootstrap_interval(
    groups: Sequence[np.ndarray],
    level: float = 0.95,
    draws: int | None = None,
    seed: int = SEED,
    datasets: Sequence[Hashable] = (),
) -> tuple[float, float]:
    r"""Percentile interval of the mean over tasks of the mean over seeds; of several datasets, of the mean of their
    means.

    Tasks are drawn with replacement, and the runs within each drawn task too, so both sources of variation count. The
    ends are those of infinitely many draws: with :math:`n` tasks of :math:`m_k` runs :math:`x_{ks}`, the mean of a
    drawn sample has the characteristic function

    .. math:: \varphi(t) = \Big[ \frac1n \sum_k \Big( \frac{1}{m_k} \sum_s e^{i t x_{ks} / (n m_k)} \Big)^{m_k} \Big]^n,

    evaluated on a grid by a fast Fourier transform. Tasks are drawn within datasets, which are fixed: with :math:`D` of
    them, :math:`\prod_d \varphi_d(t / D)`. Four tasks leave so few different means that an end found by random
    draws jumps by whole points where it falls between two of them; these ends do not depend on chance.

    Args:
        groups: one array (n_seeds,) per task; lengths may differ.
        level: coverage.
        draws: estimate the ends by so many random draws with ``seed`` instead.
        datasets: of each group; all of one where there are none.

    Returns:
        Lower and upper end; both the mean itself when there is a single task with a single seed.
    """
    values = [np.asarray(g, dtype=np.float64) for g in groups]
    sets = [[v for v, d in zip(values, datasets) if d == name] for name in dict.fromkeys(datasets)] or [values]
    tail = (1 - level) / 2
    if draws is not None:
        means = np.mean([_drawn(of, draws, seed + i) for i, of in enumerate(sets)], axis=0)
        low, high = np.quantile(means, [tail, 1 - tail])
        return float(low), float(high)
    bottom, top = min(g.min() for g in values), max(g.max() for g in values)
    if bottom == top:
        return float(bottom), float(top)
    share, step = _distribution([[(g - bottom) / (top - bottom) for g in of] for of in sets])
    reached = np.cumsum(share)
    # the transform's rounding must not move an end that lies exactly at the tail's probability
    ends = np.searchsorted(reached, np.array([tail, 1 - tail]) - 1e-9) * step
    low, high = bottom + np.clip(ends, 0, 1) * (top - bottom)
    return float(low), float(high)


def _distribution(sets: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, float]:
    """Probabilities of the drawn mean at the multiples of a step; values in [0, 1], a list of groups per dataset.

    Every value is split between its two neighbours on the grid so that means are exact; the spread this adds is at most
    half a step times the root of the number of runs in a sample.
    """
    slots = sum(len(groups) * max(len(g) for g in groups) for groups in sets)
    size = max(GRID, 1 << (16 * slots - 1).bit_length())
    step = 1 / (size - slots - 1)
    parts = [_transform(groups, size, len(sets) * step) for groups in sets]
    return np.fft.irfft(np.prod(parts, axis=0), size), step


def _transform(groups: Sequence[np.ndarray], size: int, step: float) -> np.ndarray:
    """Characteristic function (size // 2 + 1,) of the drawn mean of one dataset, on the grid of a step."""
    n = len(groups)
    task = np.zeros(size // 2 + 1, dtype=complex)
    for group in groups:
        m = len(group)
        at = group / (n * m * step)
        below = np.floor(at)
        mass = np.bincount(below.astype(int), 1 - (at - below), size) + np.bincount(
            below.astype(int) + 1, at - below, size
        )
        task += np.fft.rfft(mass / m) ** m / n
    found: np.ndarray = task**n
    return found


def _drawn(groups: Sequence[np.ndarray], draws: int, seed: int) -> np.ndarray:
    """Means (draws,) of random samples."""
    table = np.zeros((len(groups), max(len(g) for g in groups)))
    counts = np.array([len(g) for g in groups])
    for row, group in zip(table, groups):
        row[: len(group)] = group
    rng = np.random.default_rng(seed)
    size = max(1, 2_000_000 // table.size)
    means = []
    for start in range(0, draws, size):
        n = min(size, draws - start)
        tasks = rng.integers(0, len(groups), (n, len(groups)))
        count = counts[tasks][..., None]
        runs = (rng.random((n, *table.shape)) * count).astype(np.int64)
        picked = np.where(np.arange(table.shape[1]) < count, table[tasks[..., None], runs], 0.0)
        means.append((picked.sum(2) / count[..., 0]).mean(1))
    return np.concatenate(means)


def mean_ranks(scores: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
    """Mean over tasks of each method's rank, 1 is best, ties averaged: means that differ by rounding alone are equal.

    Args:
        scores: (methods, tasks); a method with a NaN is ranked nowhere and does not move the others.

    Returns:
        (methods,), NaN where a method is not ranked.
    """
    from scipy.stats import rankdata

    ranks = np.full(len(scores), np.nan)
    complete = ~np.isnan(scores).any(1)
    if complete.any() and scores.shape[1]:
        values = np.round(scores[complete], 12)
        ranks[complete] = rankdata(-values if higher_is_better else values, axis=0).mean(1)
    return ranks
