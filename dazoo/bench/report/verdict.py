"""Is one method better than another, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from dazoo.bench.analysis.compare import Comparison
from dazoo.bench.analysis.significance import ENOUGH
from dazoo.bench.metrics.registry import title
from dazoo.bench.report.model import Report


def sentence(made: Report, found: Comparison) -> str:
    """The answer in one sentence: first what the tasks show, then what seeds alone show."""
    points = partial(_points, made)
    metric = title(made.board.metric)
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
