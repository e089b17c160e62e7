"""Label curves: the metric against the number of labelled target samples per class, and the area below.

A suite that asks for several numbers of labels has the same tasks at each (``Suite.spread``), with nested draws and one
test part. A curve is the mean over tasks at every number; its area is taken over the logarithm of the number and
divided by the length of that axis, so that it is a mean height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dazoo.bench.metrics.formulas import normalised_area
from dazoo.bench.report.canvas import PALETTE, Dot, Figure, Line, Word
from dazoo.bench.report.model import Report
from dazoo.bench.report.text import csv_text, md_table, number
from dazoo.core.setting import Setting
from dazoo.data.names import dataset_of

COLUMNS = ("dataset", "method", "family", "labels_per_class", "mean", "std", "n_seeds", "n_tasks")
AREA = "area"


@dataclass(frozen=True)
class Curve:
    """A method's values (numbers, seeds), each a mean over tasks; empty where some task has none."""

    label: str
    family: str
    mark: str
    numbers: tuple[int, ...]
    values: np.ndarray

    @property
    def means(self) -> list[float]:
        """Mean over seeds at every number."""
        return [float(row.mean()) if len(row) else math.nan for row in self.values]

    @property
    def spreads(self) -> list[float]:
        """Standard deviation over seeds (n - 1), NaN below two."""
        return [float(row.std(ddof=1)) if len(row) > 1 else math.nan for row in self.values]

    @property
    def areas(self) -> np.ndarray:
        """The area of every seed's curve over the logarithm of the numbers."""
        at = np.log(self.numbers).tolist()
        return np.array([normalised_area(at, column) for column in self.values.T.tolist()])

    @property
    def area(self) -> float:
        return float(self.areas.mean()) if self.values.size else math.nan

    @property
    def area_spread(self) -> float:
        return float(self.areas.std(ddof=1)) if self.values.shape[1] > 1 else math.nan


@dataclass(frozen=True)
class LabelCurves:
    """All methods of a dataset, the largest area first; ``tasks`` are the pairs that stand at every number."""

    dataset: str
    numbers: tuple[int, ...]
    tasks: tuple[str, ...]
    curves: tuple[Curve, ...]


def label_curves(made: Report) -> list[LabelCurves]:
    """The label curves of a report, one for each dataset of a suite that asks for several numbers of labels."""
    if "label_curves" not in made.derived:
        made.derived["label_curves"] = _found(made)
    found: list[LabelCurves] = made.derived["label_curves"]
    return found


def _found(made: Report) -> list[LabelCurves]:
    places: dict[str, dict[int, dict[str, str]]] = {}
    first = {r.task: r.key for r in made.runs.runs}
    for task in made.board.tasks:
        splits = made.origins.setups.values[made.origins.runs[first[task]].setup].get("splits", {})
        if splits.get("curve"):
            k = int(splits["few_labels"])
            of = places.setdefault(dataset_of(task).removesuffix(f"-k{k}"), {})
            of.setdefault(k, {})[task.partition("/")[2]] = task
    return [
        LabelCurves(name, numbers, tasks, _curves(made, of, numbers, tasks))
        for name, of in places.items()
        if len(numbers := tuple(sorted(of))) > 1
        and (tasks := tuple(sorted(set.intersection(*(set(pairs) for pairs in of.values())))))
    ]


def _curves(
    made: Report, of: dict[int, dict[str, str]], numbers: tuple[int, ...], tasks: tuple[str, ...]
) -> tuple[Curve, ...]:
    curves = []
    for row in made.board.rows:
        cells = [[made.board.cells.get((row.label, of[k][t])) for t in tasks] for k in numbers]
        found = [[dict(zip(c.seeds, c.values)) if c is not None else {} for c in line] for line in cells]
        seeds = sorted(set.intersection(*(set(one) for line in found for one in line)))
        values = np.array([[np.mean([one[s] for one in line]) for s in seeds] for line in found])
        curves.append(Curve(row.label, row.family, row.mark, numbers, values.reshape(len(numbers), len(seeds))))
    sign = -1.0 if made.board.higher_is_better else 1.0
    return tuple(sorted(curves, key=lambda c: (math.isnan(c.area), sign * c.area, c.label)))


def table(made: Report, found: LabelCurves) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table for reading: the mean at every number with its spread, and the area."""
    head = ["method", *(f"{k} per class" for k in found.numbers), "area over log k"]
    rows = []
    for c in found.curves:
        pairs = [*zip(c.means, c.spreads), (c.area, c.area_spread)]
        shown = [made.show(m) + ("" if math.isnan(s) else f" ± {made.show(s)}") or "–" for m, s in pairs]
        rows.append([c.label + (" †" if c.mark else ""), *shown])
    return head, rows


def sentence(made: Report, found: LabelCurves) -> str:
    """What a table of curves shows."""
    return (
        f"Mean of {made.unit} over {len(found.tasks)} tasks of {found.dataset} ({', '.join(found.tasks)}) against the "
        "number of labelled target samples per class, ± standard deviation over seeds. Draws lie in each other; all "
        "are tested on the same half of the target, and so are methods that see no label or half of them, whose curves "
        "are flat. Area: under the curve over the logarithm of the number, as a mean height."
    )


def markdown(made: Report) -> list[str]:
    """Lines of the section on label curves; none where there are none."""
    lines: list[str] = []
    for found in label_curves(made):
        lines += ["", f"## Label curves: {found.dataset}", "", sentence(made, found), ""]
        lines += md_table(*table(made, found))
    return lines


def csv(made: Report) -> str:
    """One row per method and number of labels, and one with ``area`` in the place of the number."""
    rows = []
    for found in label_curves(made):
        for c in found.curves:
            places = [*zip(map(str, found.numbers), c.means, c.spreads), (AREA, c.area, c.area_spread)]
            counts = [str(c.values.shape[1]), str(len(found.tasks))]
            rows += [[found.dataset, c.label, c.family, k, number(m), number(s), *counts] for k, m, s in places]
    return csv_text(COLUMNS, rows)


# -- the figure -----------------------------------------------------------------------------------------------------

WIDE, HIGH, LEFT, TOP, NAMES, STEP = 420.0, 300.0, 70.0, 46.0, 210.0, 14.0


def figures(made: Report) -> list[Figure]:
    """A chart per family of methods that see a few labels; those that see none or half are thin lines in each."""
    drawn = []
    for found in label_curves(made):
        good = [c for c in found.curves if not math.isnan(c.area)]
        bounds = [c for c in good if not _moves(made, found, c)]
        families = dict.fromkeys(c.family for c in good if c not in bounds)
        for family in families:
            mine = [c for c in good if c.family == family and c not in bounds]
            title = f"Label curves of {found.dataset}, {family}: {made.unit} against labelled target samples per class"
            title += " (logarithmic), with standard deviations over seeds"
            name = f"label_curve_{found.dataset}_{family}"
            drawn.append(Figure(name, title, *_chart(made, found, mine, bounds)))
    return drawn


def _moves(made: Report, found: LabelCurves, c: Curve) -> bool:
    """Whether the method sees as many labels as are drawn."""
    shown = {r.setting for r in made.runs.runs if r.label == c.label}
    return any(Setting.of(s).marked == "few" for s in shown)


def _chart(
    made: Report, found: LabelCurves, mine: Sequence[Curve], bounds: Sequence[Curve]
) -> tuple[float, float, tuple[Line | Dot | Word, ...]]:
    every = [v for c in (*mine, *bounds) for m, s in zip(c.means, c.spreads) for v in (m, *_ends(m, s))]
    low, high = min(every), max(every)
    high = high if high > low else low + 1e-9
    height = max(HIGH, STEP * (len(mine) + len(bounds)))
    logs = np.log(found.numbers)

    def at(i: int, value: float) -> tuple[float, float]:
        share = (logs[i] - logs[0]) / (logs[-1] - logs[0])
        return LEFT + 16 + share * (WIDE - 32), TOP + height * (1 - (value - low) / (high - low))

    bottom = TOP + height
    parts: list[Line | Dot | Word] = [
        Line(LEFT, TOP, LEFT, bottom, "axis"), Line(LEFT, bottom, LEFT + WIDE, bottom, "axis"),
        Word(LEFT, TOP - 14, made.unit, "middle", True),
        Word(LEFT + WIDE / 2, bottom + 36, "labelled target samples per class", "middle", True),
    ]  # fmt: skip
    for v in np.linspace(low, high, 5):
        y = at(0, float(v))[1]
        parts += [Line(LEFT - 5, y, LEFT, y, "axis"), Word(LEFT - 8, y + 4, made.show(float(v), 1), "end", True)]
    for i, k in enumerate(found.numbers):
        parts += [Line(at(i, low)[0], bottom, at(i, low)[0], bottom + 5, "axis")]
        parts.append(Word(at(i, low)[0], bottom + 18, str(k), "middle", True))
    ends: list[tuple[float, str, int]] = []
    for j, c in enumerate((*mine, *bounds)):
        shade = j % len(PALETTE) if j < len(mine) else -1
        spots = [at(i, m) for i, m in enumerate(c.means)]
        shift = 1.6 * (j - len(mine) / 2) if shade >= 0 else 0.0  # whiskers stand side by side
        parts += [Line(*a, *b, "data" if shade >= 0 else "thin", shade) for a, b in pairwise(spots)]
        for i, (m, s) in enumerate(zip(c.means, c.spreads)) if shade >= 0 else ():
            a, b = _ends(m, s)
            parts.append(Line(spots[i][0] + shift, at(i, a)[1], spots[i][0] + shift, at(i, b)[1], "thin", shade))
        ends.append((spots[-1][1], f"{c.label} ({made.show(c.area, 1)})", shade))
    right = at(len(found.numbers) - 1, low)[0]
    for (y, text, shade), place in zip(sorted(ends), apart([e[0] for e in sorted(ends)], TOP, bottom)):
        parts += [Line(right + 3, y, right + 26, place, "thin", shade), Word(right + 30, place + 4, text)]
    return LEFT + WIDE + NAMES, bottom + 48, tuple(parts)


def _ends(mean: float, spread: float) -> tuple[float, float]:
    return (mean, mean) if math.isnan(spread) else (mean - spread, mean + spread)


def apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Ascending ``places`` moved apart to a line's height each, between ``top`` and ``bottom`` where there is room."""
    found: list[float] = []
    for y in places:
        found.append(max(y, found[-1] + STEP if found else top))
    over = found[-1] - bottom if found else 0.0
    for i in range(len(found) - 1, -1, -1):
        limit = bottom if i == len(found) - 1 else found[i + 1] - STEP
        found[i] = min(found[i], limit) if over > 0 else found[i]
    return found
