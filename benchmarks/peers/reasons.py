"""``python -m benchmarks.peers reasons``: measures why accuracies differ, case by case; ``why`` says what and how."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.peers import measures
from benchmarks.peers.cases import Case, Pair
from benchmarks.peers.measures import Sides
from benchmarks.peers.shallow import FEATURES, LARGEST, PEERS, ours, prepared, tasks
from benchmarks.peers.why import ACCURACY, ALONE, Finding, over_pairs
from dazoo.core.types import Seen

Measure = Callable[[Case, Seen, Pair, np.ndarray], Sides]
MEASURES: dict[tuple[str, str], Measure] = {
    ("skada", "sa"): functools.partial(measures.exact_svd, "skada._subspace"),
    ("skada", "tca"): measures.pencil,
    ("skada", "ot_group_lasso"): measures.group_lasso,
    ("skada", "jdot"): measures.same_loss,
    ("skada", "kmm"): measures.mean_matching,
    ("adapt", "sa"): functools.partial(measures.exact_svd, "adapt.feature_based._sa"),
    ("adapt", "rulsif"): measures.relative_ratio,
    ("adapt", "tradaboost"): measures.boosting,
}


def findings(
    root: str | None, wanted: list[str], peers: tuple[str, ...] = tuple(PEERS), features: tuple[str, ...] = FEATURES
) -> Iterator[list[Finding]]:
    """The findings of one case after another."""
    for kind in features:
        by_size = sorted(tasks(root, kind), key=lambda t: len(t.sources[0]) * len(t.target))[: LARGEST[kind]]
        for (peer, name), measure in MEASURES.items():
            if peer not in peers or (wanted and name not in wanted):
                continue
            (case,) = [c for c in PEERS[peer] if c.name == name]
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                measured = [about(case, measure, *prepared(case, task)) for task in by_size[: case.smallest]]
            yield over_pairs(kind, peer, name, measured)


def about(case: Case, measure: Measure, seen: Seen, pair: Pair, y: np.ndarray) -> Sides:
    """What both sides get right on a pair, and what ``measure`` says about it."""
    mine, other = ours(case, seen, pair)() == y, np.asarray(case.peer(pair)) == y
    both: Sides = {
        ACCURACY: (100 * mine.mean(), 100 * other.mean()),
        ALONE: (int((mine & ~other).sum()), int((other & ~mine).sum())),
    }
    return both | measure(case, seen, pair, y)
