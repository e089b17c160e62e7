"""Tables about the choices of ``dazoo adapt``: regrets of its rule, of its members, and of its constants elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from dazoo.adaptation.expected import SPREAD, Z
from dazoo.adaptation.judge import AGREE, KNOWING, LEADING

Row = dict[str, Any]
Rule = Callable[[Row], int]
POINT, ERRORS = 0.01, 2.0
GRID = {"lead": (0.0, 0.02, 0.05), "knowing": (0.0, 0.1, 0.2), "agree": (0.0, 0.25, 0.5, 1.0)}
COVER = 0.9
MEMBERS = {"corr_c", "clusters", "consensus"}


def accuracies(row: Row) -> np.ndarray:
    """Accuracy (k,) of every candidate, the source's model first."""
    return np.array([c["accuracy"] for c in row["candidates"]])


def regret(row: Row, chosen: int) -> float:
    """Points lost against the best candidate."""
    found = accuracies(row)
    return float(100 * (found.max() - found[chosen]))


def worse(row: Row, chosen: int) -> bool:
    """Whether a choice lost more than one point, and more than two standard errors, against the source's model."""
    found = accuracies(row)
    error = float(np.sqrt(max(found[0] * (1 - found[0]), 1e-4) / row["target"]))
    return bool(found[0] - found[chosen] > max(POINT, ERRORS * error))


def rule(lead: float, knowing: float, agree: float) -> Rule:
    """The choice of ``judge`` with other constants, from the scores alone: without its bootstrap samples."""

    def choose(row: Row) -> int:
        found = row["candidates"]
        if len(found) < 2 or not found[0]["scores"]:
            return 0
        base = found[0]["scores"]
        fit = [
            k
            for k, c in enumerate(found)
            if k and not c["veto"] and c["scores"]["clusters"] > base["clusters"] + lead
            and c["scores"]["clusters"] >= knowing
        ]  # fmt: skip
        if not fit:
            return 0
        best = max(fit, key=lambda k: found[k]["scores"]["clusters"] + agree * found[k]["scores"]["consensus"])
        against = all(found[best]["scores"][m] < base[m] for m in ("corr_c", "consensus"))
        return 0 if against else best

    return choose


def member(name: str) -> Rule:
    """The candidate with the best score of a member, vetoes kept."""

    def choose(row: Row) -> int:
        found = row["candidates"]
        able = [k for k, c in enumerate(found) if not c["veto"] and c["scores"]]
        return max(able, key=lambda k: (found[k]["scores"][name], -k), default=0)

    return choose


def by_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of every data set."""
    sets: dict[str, list[Row]] = {}
    for row in rows:
        sets.setdefault(row["set"], []).append(row)
    return sets


def elsewhere(sets: dict[str, list[Row]]) -> dict[str, tuple[float, float, float]]:
    """For every data set the constants with the least mean regret on all others."""
    every = list(product(*GRID.values()))
    losses = {
        name: np.array([np.mean([regret(r, rule(*c)(r)) for r in rows]) for c in every]) for name, rows in sets.items()
    }
    found = {}
    for name in sets:
        others = [loss for other, loss in losses.items() if other != name]
        found[name] = every[int(np.argmin(np.mean(others, 0)))] if others else (0.02, 0.1, 0.25)
    return found


def spread_elsewhere(sets: dict[str, list[Row]]) -> dict[str, float]:
    """For every data set the SPREAD that covers nine of ten pairs of all others, every set weighing the same."""
    found = {}
    for name in sets:
        values, weights = [], []
        if len(sets) == 1:
            return {name: SPREAD}
        for other, rows in sets.items():
            if other != name:
                values += [_needed(r) for r in rows]
                weights += [1 / len(rows)] * len(rows)
        order = np.argsort(values)
        share = np.cumsum(np.array(weights)[order]) / max(sum(weights), 1e-12)
        found[name] = float(np.array(values)[order][min(int(np.searchsorted(share, COVER)), len(values) - 1)])
    return found


def _needed(row: Row) -> float:
    """The SPREAD that covers a pair."""
    distance = 2.0 if row["a_distance"] is None else row["a_distance"]
    return max(0.0, _error(row) - _standard(row)) / max(distance / 2, 1e-9)


def _error(row: Row) -> float:
    return float(abs(row["expected"] - accuracies(row)[row["chosen"]]))


def _standard(row: Row) -> float:
    """Half of the interval without SPREAD, as far as it was not cut at 0 or 1."""
    distance = 2.0 if row["a_distance"] is None else row["a_distance"]
    half = max(row["expected"] - row["low"], row["high"] - row["expected"])
    return max(0.0, half - SPREAD * distance / 2)


def covered(row: Row, spread: float | None = None) -> bool:
    """Whether the interval, with another SPREAD where it is given, holds the accuracy."""
    if spread is None:
        return bool(row["low"] <= accuracies(row)[row["chosen"]] <= row["high"])
    distance = 2.0 if row["a_distance"] is None else row["a_distance"]
    return _error(row) <= _standard(row) + spread * distance / 2


def summary(rows: list[Row], about: str) -> str:
    """The page."""
    sets = by_set(rows)
    return "\n\n".join([_choices(sets), _members(sets), _constants(sets), _spreads(sets), about]) + "\n"


def _choices(sets: dict[str, list[Row]]) -> str:
    head = ("data set", "pairs", "source_only", "chosen", "best candidate", "regret", "worst against source_only",
            "worse", "expected less measured", "absolute", "covered", "ECE", "CPU s, median", "most")  # fmt: skip
    body = [(name, *_line(rows)) for name, rows in sets.items()]
    every = [r for rows in sets.values() for r in rows]
    body += [("all pairs", *_line(every)), ("mean of sets", *_mean_of([_line(rows) for rows in sets.values()]))]
    return "# How well `dazoo adapt` chooses\n\n" + WHAT + "\n\n" + table(head, body)


def _line(rows: list[Row]) -> tuple[Any, ...]:
    first, taken, best, shift, error = [], [], [], [], []
    for row in rows:
        found = accuracies(row)
        first.append(100 * found[0])
        taken.append(100 * found[row["chosen"]])
        best.append(100 * found.max())
        shift.append(100 * row["expected"] - taken[-1])
        error.append(abs(shift[-1]))
    lost = np.array(first) - np.array(taken)
    cpu = [r["cpu_seconds"] for r in rows]
    return (
        len(rows), np.mean(first), np.mean(taken), np.mean(best), np.mean(best) - np.mean(taken), float(-lost.max()),
        sum(worse(r, r["chosen"]) for r in rows), np.mean(shift), np.mean(error),
        f"{sum(covered(r) for r in rows)} of {len(rows)}", 100 * np.mean([r["ece"] for r in rows]), np.median(cpu),
        max(cpu),
    )  # fmt: skip


def _mean_of(lines: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    columns = list(zip(*lines))
    kept = {1, 2, 3, 4, 7, 8, 10}
    return tuple(float(np.mean(c)) if i in kept else "" for i, c in enumerate(columns))


def _members(sets: dict[str, list[Row]]) -> str:
    """Regret by data set of every member by itself, of source_only, and of the rule."""
    rules: dict[str, Rule] = {
        "source_only": lambda row: 0,
        **{f"{m} alone": member(m) for m in sorted(MEMBERS)},
        "the rule": lambda row: int(row["chosen"]),
    }
    return _regrets("## Members by themselves", "Mean regret, in brackets how many choices were worse.", sets, rules)


def _constants(sets: dict[str, list[Row]]) -> str:
    chosen = elsewhere(sets)
    rules: dict[str, Rule] = {
        "constants in use": rule(LEADING["clusters"], KNOWING, AGREE),
        "constants of the other sets": lambda row: rule(*chosen[row["set"]])(row),
    }
    text = (
        f"LEADING {LEADING['clusters']}, KNOWING {KNOWING} and AGREE {AGREE} of `judge`, against those with the least "
        "mean regret on all *other* data sets: "
        + "; ".join(f"{n}: {a:g}, {b:g}, {c:g}" for n, (a, b, c) in chosen.items())
    )
    return _regrets("## Constants, chosen elsewhere", text + ". Without bootstrap samples.", sets, rules)


def _regrets(title: str, text: str, sets: dict[str, list[Row]], rules: dict[str, Rule]) -> str:
    body = []
    for name, choose in rules.items():
        cells: list[Any] = [name]
        means = []
        for rows in sets.values():
            found = [regret(r, choose(r)) for r in rows]
            means.append(float(np.mean(found)))
            cells.append(f"{means[-1]:.1f} ({sum(worse(r, choose(r)) for r in rows)})")
        every = [regret(r, choose(r)) for rows in sets.values() for r in rows]
        body.append((*cells, float(np.mean(means)), float(np.mean(every))))
    return f"{title}\n\n{text}\n\n" + table(("rule", *sets, "mean of sets", "mean of pairs"), body)


def _spreads(sets: dict[str, list[Row]]) -> str:
    found = spread_elsewhere(sets)
    body = [
        (name, f"{found[name]:.2f}", f"{sum(covered(r, found[name]) for r in rows)} of {len(rows)}",
         f"{sum(covered(r) for r in rows)} of {len(rows)}")
        for name, rows in sets.items()
    ]  # fmt: skip
    text = f"SPREAD is {SPREAD}; here the value that covers {COVER:.0%} of the pairs of all other sets (Z = {Z})."
    head = ("data set", "SPREAD of the others", "within that interval", "within the interval in use")
    return f"## Width of the interval, chosen elsewhere\n\n{text}\n\n" + table(head, body)


def table(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; numbers with one digit."""
    cells = [[f"{v:.1f}" if isinstance(v, float) else str(v) for v in row] for row in body]
    return "\n".join(["| " + " | ".join(r) + " |" for r in (list(head), ["---"] * len(head), *cells)])


WHAT = (
    "Accuracy and regret in points. Every pair at the defaults of `dazoo adapt`, one seed; target labels were read "
    "after all choices. Regret is against the best of all candidates by target labels, a maximum over some twenty "
    "noisy accuracies; *worse* counts choices that lost more than one point and two standard errors against "
    "`source_only`."
)
