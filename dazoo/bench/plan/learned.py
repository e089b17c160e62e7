"""What runs of a plan take, learned while it is worked on: earlier expectations, corrected by what others took.

log seconds - log expected is a sum of terms, of protocol, row (label), row under protocol, task, and row on task, in
this order: each is the mean of what those before it leave over, times n / (n + SHRINK) for n runs. So one run tells
much of its other seeds, something of its row and of its data, and a little of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable

from dazoo.bench.plan.costs import LEAST, SURE, Costs
from dazoo.bench.plan.plan import RunSpec

SHRINK = 0.5
NEAR = 3.0
"""``costs.SURE`` where the row ran on other tasks of the same protocol."""
LEVELS: tuple[Callable[[RunSpec], Hashable], ...] = (
    lambda s: s.protocol.hash,
    lambda s: s.label,
    lambda s: (s.label, s.protocol.hash),
    lambda s: s.task,
    lambda s: (s.label, s.task, s.protocol.hash),
)


class Learned:
    """Expected seconds, as ``costs`` has them until there is more to go by.

    Attributes:
        seen: runs that ended, and their seconds; what is expected follows at the next ``fit``.
    """

    def __init__(self, costs: Costs):
        self.costs, self.opening, self.together = costs, costs.opening, costs.together
        self.seen: list[tuple[RunSpec, float]] = []
        self._terms: tuple[dict[Hashable, float], ...] = tuple({} for _ in LEVELS)

    def __call__(self, spec: RunSpec) -> float:
        """Expected seconds of one run."""
        seconds = max(self.costs(spec), LEAST)
        if not self._terms[0]:
            return seconds
        return seconds * math.exp(sum(terms.get(of(spec), 0.0) for of, terms in zip(LEVELS, self._terms)))

    def doubt(self, spec: RunSpec) -> float:
        """How many times as long as expected a run may take (``Costs.doubt``)."""
        doubt = self.costs.doubt(spec)
        if LEVELS[4](spec) in self._terms[4]:
            return min(doubt, SURE)
        return min(doubt, NEAR) if LEVELS[2](spec) in self._terms[2] else doubt

    def cell(self, spec: RunSpec) -> Hashable:
        """Runs that agree in it tell of each other what they take."""
        return LEVELS[2](spec)

    def learn(self, spec: RunSpec, seconds: float) -> None:
        self.seen.append((spec, seconds))

    def fit(self, going: Iterable[tuple[RunSpec, float]] = ()) -> None:
        """Take up what was learned.

        Args:
            going: runs that have not ended, and the seconds that they have taken so far: where that is more than was
                expected, they are long, and so are others like them.
        """
        seen = [*self.seen, *((spec, seconds) for spec, seconds in going if seconds > self(spec))]
        left = [math.log(max(seconds, LEAST) / max(self.costs(spec), LEAST)) for spec, seconds in seen]
        fitted = []
        for of in LEVELS:
            names = [of(spec) for spec, _ in seen]
            sums: dict[Hashable, tuple[float, int]] = {}
            for name, value in zip(names, left):
                total, n = sums.get(name, (0.0, 0))
                sums[name] = total + value, n + 1
            terms = {name: total / (n + SHRINK) for name, (total, n) in sums.items()}
            left = [value - terms[name] for name, value in zip(names, left)]
            fitted.append(terms)
        self._terms = tuple(fitted)
