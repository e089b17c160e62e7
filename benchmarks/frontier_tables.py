"""Further tables of the page on the frontier: critical differences, recipes, and what rules find among trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from dazoo.bench.analysis.grid import Grid
from dazoo.bench.analysis.read import read_runs
from dazoo.bench.analysis.regret import collapsed, regrets
from dazoo.bench.analysis.significance import LEVEL, critical_difference, friedman, holm, signed_ranks, wilcoxon
from dazoo.bench.plan.suite import LAST, ORACLE_RULE
from dazoo.validators.base import VALIDATORS

Scores = Mapping[str, Mapping[str, float]]
BASE = "source_only"


def critical(scores: Scores) -> list[str]:
    """Mean ranks over tasks with Friedman's test, Nemenyi's critical difference, and Wilcoxon's test against no
    adaptation with Holm's correction. ``scores`` by method, then task, of methods that see no target label."""
    names, tasks = list(scores), sorted(next(iter(scores.values())))
    values = np.array([[scores[n][t] for t in tasks] for n in names])
    test = friedman(values)
    difference = critical_difference(test.k, test.n)
    base = names.index(BASE)
    rest = [i for i in range(len(names)) if i != base]
    gaps = {i: np.round(values[i] - values[base], 9) for i in rest}
    p = dict(zip(rest, holm([wilcoxon(gaps[i])[1] for i in rest])))
    lines = [
        f"{test.k} methods that see no target label over {test.n} tasks: Friedman's p = {test.f_p:.2g}, Nemenyi's "
        f"critical difference of mean ranks {difference:.2f} at {100 * LEVEL:.0f} %. `{BASE}` has rank "
        f"{test.ranks[base]:.2f}, the best {test.ranks.min():.2f}. Wilcoxon's signed-rank test over tasks sees smaller "
        "differences than the ranks of all; its p is against no adaptation, with Holm's correction for so many tests.",
        "",
        "| method | mean rank | from no adaptation by rank | p against no adaptation | from the best by rank |",
        "|---|---|---|---|---|",
    ]
    for i in np.argsort(test.ranks, kind="stable"):
        far = "apart" if test.ranks[base] - test.ranks[i] > difference else "-"
        below = "apart" if test.ranks[i] - test.ranks.min() > difference else "-"
        side = "" if i == base or p[i] >= LEVEL else " better" if signed_ranks(gaps[i]) > 0 else " worse"
        tested = "" if i == base else f"{p[i]:.2g}{side}"
        lines.append(f"| {names[i]} | {test.ranks[i]:.2f} | {far} | {tested} | {below} |")
    return lines


def recipes(scores: Scores) -> list[str]:
    """Gain over no adaptation under the same recipe; rows are called ``method (recipe)``."""
    found: dict[str, dict[str, float]] = {}
    for label, tasks in scores.items():
        name, _, recipe = label.rstrip(")").partition(" (")
        found.setdefault(name, {})[recipe] = fmean(tasks.values())
    used = sorted({r for means in found.values() for r in means})
    gain = {n: {r: m - found[BASE][r] for r, m in means.items()} for n, means in found.items() if n != BASE}
    lines = [
        f"| method | {' | '.join(used)} | mean | least |",
        "|---" * (len(used) + 3) + "|",
        f"| {BASE} (accuracy, %) | {' | '.join(f'{found[BASE][r]:.2f}' for r in used)} | "
        f"{fmean(found[BASE].values()):.2f} | {min(found[BASE].values()):.2f} |",
    ]
    for name, of in sorted(gain.items(), key=lambda item: -fmean(item[1].values())):
        cells = " | ".join(f"{of[r]:+.2f}" if r in of else "-" for r in used)
        lines.append(f"| {name} | {cells} | {fmean(of.values()):+.2f} | {min(of.values()):+.2f} |")
    return lines


def scratch(folder: Path, rule: str = "info_max") -> list[str]:
    """Gains of methods that train a network from scratch, and how many of the selected models are collapsed."""
    grid = Grid(read_runs(folder).runs)
    choice = grid.select(rule, "accuracy")
    mean: dict[str, dict[str, float]] = {}
    fallen: dict[str, list[bool]] = {}
    for i, (name, task) in enumerate(grid.places):
        runs, points, *_ = choice.selected[i]
        mean.setdefault(name, {})[task.partition("/")[2]] = 100 * float(choice.mean[i])
        fallen.setdefault(name, []).extend(collapsed(grid.predicted[runs, points]).tolist())
    spent = {n: fmean(f["cpu_seconds"] for f in grid.facts if f["label"] == n) for n in mean}
    lines = [
        f"Chosen by `{rule}`. A model is collapsed where it puts the target into far fewer classes than there are.",
        "",
        "| method | accuracy (%) | gain (points) | least gain | on | collapsed | CPU s per run |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, of in sorted(mean.items(), key=lambda item: -fmean(item[1].values())):
        gain = {t: v - mean[BASE][t] for t, v in of.items()}
        least = min(gain, key=lambda t: gain[t])
        gone = f"{sum(fallen[name])} of {len(fallen[name])}"
        gains = f"{fmean(gain.values()):+.2f} | {gain[least]:+.2f} | {least}" if name != BASE else " | | "
        lines.append(f"| {name} | {fmean(of.values()):.2f} | {gains} | {gone} | {spent[name]:.2f} |")
    return lines


def trials(folder: Path) -> list[str]:
    """What every rule makes of several settings per method, against the defaults and the best; in points."""
    grid = Grid(read_runs(folder).runs)
    values = 100 * grid.metric("accuracy")
    ends = values[np.arange(len(values)), grid.last]
    ok = np.array([r.ok for r in grid.runs])
    base = {t: fmean(ends[i] for i in m if ok[i]) for (n, t), m in zip(grid.places, grid.members) if n == BASE}
    cells = [(i, n, t) for i, (n, t) in enumerate(grid.places) if n != BASE]
    default = {i: fmean(ends[j] for j in grid.members[i] if grid.runs[j].trial == 0) for i, _, _ in cells}
    rules = [*grid.validators, LAST, ORACLE_RULE]
    choices = {rule: grid.select(rule, "accuracy") for rule in rules}
    chosen = {rule: {i: 100 * float(c.mean[i]) for i, _, _ in cells} for rule, c in choices.items()}
    fits = {r.rule: r.correlation for r in regrets(grid, choices)}
    n_trials = max(r.trial for r in grid.runs) + 1
    at_default = fmean(default[i] - base[t] for i, _, t in cells)
    failed = sum(not r.ok for r in grid.runs)
    lines = [
        f"{len({n for _, n, _ in cells})} methods, {len(base)} pair{'s' * (len(base) > 1)}, {n_trials} settings each, "
        f"{len(grid.runs)} runs, {failed} of them failed; gains over `{BASE}` at its last checkpoint. With its "
        f"defaults and at its last checkpoint a method gains {at_default:+.2f} points on average. A rule chooses trial "
        "and checkpoint of every method; in the last column, of all methods at once, one model per pair. The oracle "
        "sees target labels.",
        "",
        "| rule | gain | over the defaults | regret | rank correlation | better than the default in | worse in | "
        "gain, of all methods at once |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in sorted(rules, key=lambda r: (r == ORACLE_RULE, -fmean(chosen[r].values()))):
        gain = fmean(chosen[rule][i] - base[t] for i, _, t in cells)
        moved = [chosen[rule][i] - default[i] for i, _, _ in cells]
        regret = fmean(chosen[ORACLE_RULE][i] - chosen[rule][i] for i, _, _ in cells)
        fit = fits.get(rule, float("nan"))
        lines.append(
            f"| {rule} | {gain:+.2f} | {fmean(moved):+.2f} | {regret:.2f} | {'' if np.isnan(fit) else f'{fit:.2f}'} | "
            f"{sum(m > 1e-9 for m in moved)} of {len(moved)} | {sum(m < -1e-9 for m in moved)} | "
            f"{_at_once(grid, rule, values, ok, base)} |"
        )
    shown = min(
        (r for r in grid.validators), key=lambda r: fmean(chosen[ORACLE_RULE][i] - chosen[r][i] for i in default)
    )
    lines += [
        "",
        f"By method, in points over `{BASE}`; `{shown}` is the rule with the least regret above.",
        "",
        f"| method | defaults, last | info_max | {shown} | best trial (target labels) |",
        "|---|---|---|---|---|",
    ]
    of: dict[str, list[tuple[float, ...]]] = {}
    for i, n, t in cells:
        found = (default[i], chosen["info_max"][i], chosen[shown][i], chosen[ORACLE_RULE][i])
        of.setdefault(n, []).append(tuple(v - base[t] for v in found))
    for name, rows in sorted(of.items(), key=lambda item: -fmean(r[-1] for r in item[1])):
        lines.append(f"| {name} | {' | '.join(f'{fmean(column):+.2f}' for column in zip(*rows))} |")
    return lines


def _at_once(grid: Grid, rule: str, values: np.ndarray, ok: np.ndarray, base: Mapping[str, float]) -> str:
    """Gain of the one model per task that a rule prefers among all methods, settings and checkpoints."""
    if rule == LAST or (rule != ORACLE_RULE and VALIDATORS.get(rule).of_group):
        return "-"
    points, scores = grid.picks(rule, "accuracy")
    found: list[float] = []
    for task, before in base.items():
        runs: Sequence[int] = [i for i, r in enumerate(grid.runs) if ok[i] and r.task == task]
        best = max(runs, key=lambda i: scores[i])
        found.append(values[best, points[best]] - before)
    return f"{fmean(found):+.2f}"
