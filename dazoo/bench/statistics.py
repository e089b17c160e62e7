"""Numbers over many runs: bootstrap intervals and mean ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 2000
SEED = 20240229


def bootstrap_interval(
    groups: Sequence[np.ndarray], level: float = 0.95, draws: int = DRAWS, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval of the mean over tasks of the mean over seeds.

    Tasks are drawn with replacement, and the runs within each drawn task too, so both sources of variation count.

    Args:
        groups: one array (n_seeds,) per task; lengths may differ.
        level: coverage.

    Returns:
        Lower and upper end; both the mean itself when there is a single task with a single seed.
    """
    n_tasks, longest = len(groups), max(len(g) for g in groups)
    table = np.zeros((n_tasks, longest))
    counts = np.array([len(g) for g in groups])
    for row, group in zip(table, groups):
        row[: len(group)] = group
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    size = max(1, 2_000_000 // (n_tasks * longest))
    for start in range(0, draws, size):
        n = min(size, draws - start)
        tasks = rng.integers(0, n_tasks, (n, n_tasks))
        count = counts[tasks][..., None]
        runs = (rng.random((n, n_tasks, longest)) * count).astype(np.int64)
        used = np.arange(longest) < count
        picked = np.where(used, table[tasks[..., None], runs], 0.0)
        means[start : start + n] = (picked.sum(2) / count[..., 0]).mean(1)
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def mean_ranks(scores: np.ndarray, higher_is_better: bool = True) -> np.ndarray:
    """Mean over tasks of each method's rank, 1 is best, ties averaged.

    Args:
        scores: (methods, tasks); a method with a NaN is ranked nowhere and does not move the others.

    Returns:
        (methods,), NaN where a method is not ranked.
    """
    from scipy.stats import rankdata

    ranks = np.full(len(scores), np.nan)
    complete = ~np.isnan(scores).any(1)
    if complete.any() and scores.shape[1]:
        values = scores[complete]
        ranks[complete] = rankdata(-values if higher_is_better else values, axis=0).mean(1)
    return ranks
