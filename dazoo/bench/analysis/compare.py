"""Is one method better than another: by how much, how surely, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dazoo.bench.analysis.select import Cell
from dazoo.bench.analysis.significance import ENOUGH, LEVEL, Posterior, bayesian_signed_rank, signed_ranks, wilcoxon
from dazoo.core.errors import DazooError, nearest

if TYPE_CHECKING:
    from dazoo.bench.report.model import Report

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
    tasks = tuple(
        sorted(t for label, t in cells if label == a and len(cells[a, t].values) and _has(cells, (b, t)))
    )  # fmt: skip
    if not tasks:
        raise DazooError(f"there is no task on which both {a!r} and {b!r} have a number")
    most = max(len(c.values) for c in cells.values())
    groups = [paired(cells[a, t], cells[b, t], higher, most) for t in tasks]
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


def sentence(made: Report, found: Comparison) -> str:
    """The answer in one sentence: first what the tasks show, then what seeds alone show."""
    points = partial(_points, made)
    metric = made.board.metric.replace("_", " ")
    name, other = (found.a, found.b) if found.spread.mean >= 0 else (found.b, found.a)
    mean = abs(found.spread.mean)
    if mean == 0:
        head = f"{found.a} and {found.b} are equal in {metric}"
    else:
        verb = "is better than" if found.decided else "is ahead of"
        sure = "" if found.decided or (len(found.tasks) == 1 and found.more_seeds == 0) else ", but not surely,"
        head = f"{name} {verb} {other}{sure} by {points(mean)} of {metric}"
    head += f" on average over {_count(len(found.tasks), 'task')}"
    return f"{head}: {_over_tasks(found, points)}; {_over_seeds(found, points)}; {_settle(found)}."


def _points(made: Report, value: float) -> str:
    return f"{100 * value:.2f} points" if made.percent else f"{value:.4f}"


def _over_tasks(found: Comparison, points: Callable[[float], str]) -> str:
    """Who wins on how many tasks, and what that says about tasks in general."""
    n = len(found.tasks)
    if n == 1:
        return "one task says nothing about other tasks"
    ahead, behind = int((found.differences > 0).sum()), int((found.differences < 0).sum())
    split = (
        f"{found.a} is ahead on {ahead} and behind on {behind} of them, Wilcoxon over tasks p = {found.wilcoxon_p:.2g}"
    )
    if n < ENOUGH:
        return f"{split}, where fewer than {ENOUGH} tasks cannot show a difference at 5 %"
    chance = found.posterior
    return (
        f"{split}, probability that {found.a} is better {chance.better:.2f}, "
        f"practically equal (within {points(found.rope)}) {chance.equal:.2f}, worse {chance.worse:.2f}"
    )


def _over_seeds(found: Comparison, points: Callable[[float], str]) -> str:
    """What seeds alone show: about these tasks, not about others."""
    low, high = found.spread.interval()
    if math.isnan(low):
        return "seeds show nothing (no interval is shown, because with one seed the spread between seeds is unknown)"
    sign = 1 if found.spread.mean >= 0 else -1
    ends = sorted((sign * low, sign * high))
    numbers = f"95 % interval over seeds {points(ends[0])} to {points(ends[1])}, p = {found.spread.p():.2g}"
    where = "this very task" if len(found.tasks) == 1 else "these very tasks"
    if found.spread.mean == 0:
        return f"seeds alone show no difference on {where} ({numbers})"
    name = found.a if sign > 0 else found.b
    shown = f"that {name} is ahead on average" if found.more_seeds == 0 else "no sure difference"
    return f"seeds alone show {shown} on {where} ({numbers})"


def _settle(found: Comparison) -> str:
    """What would make the answer surer."""
    if found.decided:
        return "neither more tasks nor more seeds are needed"
    if found.more_seeds is None and found.spread.mean == 0:
        return "no number of seeds is expected to tell them apart"
    if found.more_seeds is None:
        return "at least one more seed is needed before anything can be said about seeds"
    if found.more_seeds == 0:
        return "no more seeds are needed for that, and only more tasks can settle it for others"
    if abs(found.spread.mean) < found.rope and found.more_seeds > 1000:
        return "the difference is practically nothing, and over 1000 more seeds would be needed to show it"
    seeds = _count(found.more_seeds, "more seed")
    return f"about {seeds} per task would settle the mean over these tasks, and only more tasks the rest"


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
