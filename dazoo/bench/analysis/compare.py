"""Is one method better than another: by how much, how surely, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.significance import LEVEL, Posterior, bayesian_signed_rank, signed_ranks, wilcoxon
from dazoo.core.errors import DazooError, nearest

ROPE = 0.01
"""Half-width of the region of practical equivalence: a share of 0.01, or 1 % of the mean for other metrics."""
POWER = 0.8


@dataclass(frozen=True)
class Spread:
    """A mean difference over fixed tasks and its uncertainty from seeds alone.

    Attributes:
        mean: of the differences over tasks. error: its standard error, NaN with one seed.
        freedom: degrees of freedom of the error (Welch and Satterthwaite).
        variance: of one difference between runs, averaged over tasks: ``error^2 = variance / (tasks * seeds)``.
    """

    mean: float
    error: float
    freedom: float
    variance: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval of the mean; NaN where the error is unknown."""
        from scipy.stats import t

        if math.isnan(self.error):
            return float("nan"), float("nan")
        half = 0.0 if self.error == 0 else float(t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.mean - half, self.mean + half

    def p(self) -> float:
        """Two-sided p value that the mean is zero; NaN where the error is unknown."""
        from scipy.stats import t

        if math.isnan(self.error):
            return float("nan")
        if self.error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * t.sf(abs(self.mean) / self.error, self.freedom))


@dataclass(frozen=True)
class Comparison:
    """``a`` against ``b``; every difference is signed so that positive means ``a`` is better.

    Tasks are the sample from which other tasks are judged; seeds of one task are no independent tasks, and say only how
    the same tasks would come out again.

    Attributes:
        tasks: the tasks both have a number on. differences: of the means over seeds, per task.
        seeds: runs per task of the method that has more of them; 1 means that no interval can be shown.
        spread: mean over these tasks and its uncertainty from seeds alone.
        wilcoxon_p: two-sided, over tasks; NaN below two tasks, and never below 5 % with fewer than ``ENOUGH`` tasks.
        rope: half-width of the region of practical equivalence. posterior: Bayesian signed-rank test over tasks.
        more_seeds: further seeds per task that would show a difference of this size on these tasks with a power of
            80 %; 0 where seeds show it already, None where that cannot be told.
    """

    a: str
    b: str
    tasks: tuple[str, ...]
    differences: np.ndarray
    seeds: int
    spread: Spread
    wilcoxon_p: float
    rope: float
    posterior: Posterior
    more_seeds: int | None

    @property
    def decided(self) -> bool:
        """Whether the test over tasks shows that the method with the better mean is better."""
        side = signed_ranks(self.differences) * self.spread.mean
        return self.wilcoxon_p < LEVEL and side > 0


def compare(cells: Mapping[tuple[str, str], Cell], a: str, b: str, higher: bool, share: bool = True) -> Comparison:
    """Compare two labels on the tasks where both have a number.

    Args:
        cells: selected cells by (label, task).
        higher: whether higher values are better. share: whether the metric is a share in [0, 1].

    Raises:
        DazooError: a label is unknown, or there is no task with numbers of both.
    """
    labels = sorted({label for label, _ in cells})
    for label in (a, b):
        if label not in labels:
            raise DazooError(f"the records hold no method {label!r}: {nearest(label, labels)}")
    if a == b:
        raise DazooError(f"{a!r} cannot be compared with itself; name two methods")
    tasks, groups = by_task(cells, a, b, higher)
    if not tasks:
        raise DazooError(f"there is no task on which both {a!r} and {b!r} have a number")
    differences = np.array([float(g.mean()) for g in groups])
    level = float(np.mean([abs(cells[m, t].mean) for m in (a, b) for t in tasks]))
    rope = ROPE if share else ROPE * level
    spread = seed_spread(groups)
    return Comparison(
        a=a,
        b=b,
        tasks=tasks,
        differences=differences,
        seeds=max(len(g) for g in groups),
        spread=spread,
        wilcoxon_p=wilcoxon(differences)[1] if len(tasks) > 1 else float("nan"),
        rope=rope,
        posterior=bayesian_signed_rank(differences, rope),
        more_seeds=more_seeds(spread, len(tasks), min(len(g) for g in groups)),
    )


def by_task(
    cells: Mapping[tuple[str, str], Cell], a: str, b: str, higher: bool
) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The tasks on which both have a number, and the signed differences per seed on each."""
    most = max(len(c.values) for c in cells.values())
    tasks = tuple(sorted(t for label, t in cells if label == a and _has(cells, (a, t)) and _has(cells, (b, t))))
    return tasks, [paired(cells[a, t], cells[b, t], higher, most) for t in tasks]


def _has(cells: Mapping[tuple[str, str], Cell], key: tuple[str, str]) -> bool:
    return key in cells and len(cells[key].values) > 0


def paired(a: Cell, b: Cell, higher: bool, most: int) -> np.ndarray:
    """Signed differences per seed that both have.

    A method with a single run beside others with ``most > 1`` runs is deterministic: its value stands for every seed.
    """
    sign = 1.0 if higher else -1.0
    one, two = dict(zip(a.seeds, a.values)), dict(zip(b.seeds, b.values))
    if most > 1 and len(one) != len(two) and 1 in (len(one), len(two)):
        return sign * (np.asarray(a.values) - np.asarray(b.values))
    common = [s for s in one if s in two]
    if not common:
        return np.array([sign * (a.mean - b.mean)])
    return sign * np.array([one[s] - two[s] for s in common])


def seed_spread(groups: Sequence[np.ndarray]) -> Spread:
    """Mean over tasks of the mean over seeds, and its standard error, tasks fixed and seeds drawn.

    Args:
        groups: paired differences (n_seeds,) per task.
    """
    mean = float(np.mean([g.mean() for g in groups]))
    if min(len(g) for g in groups) < 2:
        return Spread(mean, float("nan"), float("nan"), float("nan"))
    variances = np.array([g.var(ddof=1) for g in groups])
    counts = np.array([len(g) for g in groups])
    # differences that are equal up to rounding have no spread to speak of
    variances[variances < 1e-24] = 0.0
    parts = variances / counts
    error = math.sqrt(float(parts.sum())) / len(groups)
    freedom = float(parts.sum() ** 2 / (parts**2 / (counts - 1)).sum()) if error > 0 else float("inf")
    return Spread(mean, error, freedom, float(variances.mean()))


def more_seeds(spread: Spread, n_tasks: int, seeds: int) -> int | None:
    """Further seeds per task for a difference of this size to be shown at 5 % with a power of 80 %.

    From ``n >= (z_0.975 + z_0.8)^2 variance / (tasks * mean^2)``, by the normal law.
    """
    from scipy.stats import norm

    if math.isnan(spread.error) or spread.mean == 0:
        return None
    if spread.p() < 0.05:
        return 0
    z = float(norm.ppf(0.975) + norm.ppf(POWER))
    wanted = math.ceil(z * z * spread.variance / (n_tasks * spread.mean**2))
    return max(wanted - seeds, 1)
