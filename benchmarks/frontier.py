"""What methods of 2020 to 2024 gain on fixed features, and at what cost: ``python -m benchmarks.frontier``.

Reads the tables that ``dazoo report`` wrote in result folders; every number comes from there. A gain is the difference
of mean accuracies over the tasks of the table, in points; a cost the CPU seconds of a run. A composition ``a+b`` stands
beside ``a`` and ``b`` alone. Methods that gain less than half a point over what they start from, or lose, are listed
with what ``python -m benchmarks.frontier_why`` measured of them: on fixed features only a bottleneck and a head learn.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import fmean

from benchmarks.frontier_tables import critical, recipes, scratch, trials
from dazoo.core.files import write_text

NOTHING = 0.5  # points
BASE = "source_only"
ORACLE = "target_oracle"
MORE = {"recipes": "frontier_recipes", "digits": "frontier_digits", "trials": "frontier_trials"}
"""Result folders beside the first, each for a part of the page; a part whose folder lacks is left out."""
WHY = {
    "dann+gh": "at {opposed:.0f} % of the steps the gradients of classification and alignment oppose each other in the "
    "body (mean cosine {cosine:+.2f}), and what is changed then is {changed_where_opposed:.0f} % of their sum's "
    "length; {alike:.1f} % of the target gets the same label as without",
    "gh": "with its base cdan, gradients oppose each other at {opposed:.0f} % of the steps (mean cosine "
    "{cosine:+.2f}), and what is changed then is {changed_where_opposed:.0f} % of their sum's length",
    "erm_plus": "averaged weights lie {apart:.0f} % of the way from the start away from the last ones and label "
    "{differ:.1f} % of the target otherwise; {without_average:.1f} without the average, {without_views:.1f} without "
    "strong views (a vector's are noise and masks), {without_smoothing:.1f} without smoothing, {accuracy:.1f} with "
    "all, {base:.1f} with none",
    "m_pot": "two batches have {in_common:.0f} % of their mass in common by class, {mass:.0f} % is moved, and "
    "{other_class:.0f} % of that goes to another class; with {less_mass:.0f} % moved {less_other_class:.0f} % does, "
    "and accuracy is {less_accuracy:.1f} instead of {accuracy:.1f}",
    "covi": "the term of its least sure mixtures alone reaches {vicinal_alone:.1f}, the dann that it starts from "
    "{start:.1f}; with the contrast of both sides {without_consensus:.1f}, with the consensus {without_contrast:.1f}, "
    "with both {accuracy:.1f}",
    "mcc+mic": "{alike:.1f} % of the target gets the label that mcc gives it; {accuracy:.1f} with seven of ten entries "
    "hidden, {nothing_hidden:.1f} with none, {start:.1f} of mcc",
    "mic": "alone, hidden entries are what it gains by: {accuracy:.1f}, and {nothing_hidden:.1f} with none hidden",
    "mcc+implicit_alignment": "{alike:.1f} % of the target gets the label that mcc gives it; mcc's term looks at the "
    "target alone, and which classes meet in a batch plays no part in it",
    "implicit_alignment": "its batches have {in_common:.0f} % of their rows in common by class, random ones "
    "{random:.0f} %: the mismatch that it takes away costs the base nothing here",
}
"""What measured figures say about a method, or about the part that a composition adds."""


@dataclass(frozen=True)
class Method:
    """Accuracy (%) per task and CPU seconds per run."""

    name: str
    scores: dict[str, float]
    seconds: float

    @property
    def mean(self) -> float:
        return sum(self.scores.values()) / len(self.scores)

    def ahead(self, other: Method) -> tuple[int, int]:
        """On how many tasks it is better, and on how many worse."""
        gaps = [v - other.scores[k] for k, v in self.scores.items() if k in other.scores]
        return sum(g > 0 for g in gaps), sum(g < 0 for g in gaps)


def read(folder: Path) -> dict[str, Method]:
    """The methods of a result folder by name, those with a number on every task."""
    scores: dict[str, dict[str, float]] = {}
    for row in csv.DictReader((folder / "per_task.csv").read_text(encoding="utf-8").splitlines()):
        if row["metric"] == "accuracy" and row["mean"] and not row["mean"].startswith("failed"):
            scores.setdefault(row["method"], {})[f"{row['source']}->{row['target']}"] = 100 * float(row["mean"])
    spent: dict[str, list[float]] = {}
    for row in csv.DictReader((folder / "seconds.csv").read_text(encoding="utf-8").splitlines()):
        if row["cpu_seconds"]:  # older records have none
            spent.setdefault(row["method"], []).append(float(row["cpu_seconds"]))
    most = max(map(len, scores.values()))
    whole = {name: found for name, found in scores.items() if len(found) == most}
    return {n: Method(n, found, fmean(spent.get(n, [nan]))) for n, found in whole.items()}


def gains(methods: dict[str, Method]) -> list[str]:
    """Gain over no adaptation against cost; a star where no other method gains more for less."""
    base = methods[BASE]
    rows = sorted((m for n, m in methods.items() if n != BASE), key=lambda m: -m.mean)
    lines = [
        "| method | gain (points) | better on | worse on | CPU s per run | times source_only |",
        "|---|---|---|---|---|---|",
    ]
    best = float("inf")
    for m in rows:
        star = " *" if m.seconds < best and m.mean > base.mean and m.name != ORACLE else ""
        best = min(best, m.seconds) if m.name != ORACLE else best
        better, worse = m.ahead(base)
        cost = f"{m.seconds:.2f} | {m.seconds / base.seconds:.1f}"
        lines.append(f"| {m.name}{star} | {m.mean - base.mean:+.2f} | {better} | {worse} | {cost} |")
    return lines


def compositions(methods: dict[str, Method]) -> list[str]:
    """What joining two methods gains over either of them."""
    lines = ["| composition | accuracy (%) | over the first | over the second | verdict |", "|---|---|---|---|---|"]
    for name, m in sorted(methods.items(), key=lambda item: -item[1].mean):
        first, _, second = name.partition("+")
        if second and first in methods:
            a = m.mean - methods[first].mean
            b = f"{m.mean - methods[second].mean:+.2f}" if second in methods else "-"
            verdict = "gains" if a > NOTHING else "loses" if a < -NOTHING else "nothing"
            lines.append(f"| {name} | {m.mean:.2f} | {a:+.2f} | {b} | {verdict} |")
    return lines


def reasons(folder: Path) -> dict[str, str]:
    """What was measured, in words, by method; nothing where it was not."""
    path = folder / "why.json"
    if not path.is_file():
        return {}
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    starts = {"covi": "dann", "mcc+mic": "mcc"}
    less = {f"less_{k}": v for k, v in found["m_pot less"].items()}
    extra = {
        "erm_plus": {"base": found[BASE]["accuracy"]}, "m_pot": less,
        **{name: {"start": found[start]["accuracy"]} for name, start in starts.items()},
    }  # fmt: skip
    return {name: text.format(**found[name], **extra.get(name, {})) for name, text in WHY.items()}


def nothing(methods: dict[str, Method], why: Mapping[str, str]) -> list[str]:
    """Methods that leave things as they are or worse, and the figures that are known of them or of their parts."""
    lines, told = [], []
    for name, m in methods.items():
        first, _, second = name.partition("+")
        start = methods.get(first if second else BASE)
        if start is not None and name != BASE and m.mean - start.mean < NOTHING:
            lines.append(f"- {name}: {m.mean - start.mean:+.2f} over {start.name}")
            told += [n for n in (name, second) if n in why][:1]
    if told:
        lines += [
            "",
            "Measured of them or of the part that they add; accuracies in percent, of six pairs, one seed:",
            "",
        ]
        lines += [f"- {name}: {why[name]}." for name in sorted(set(told))]
    return lines or ["None."]


def page(methods: dict[str, Method], why: Mapping[str, str], parts: Mapping[str, list[str]]) -> str:
    """The page as Markdown. ``parts`` are further sections by title."""
    n = len(next(iter(methods.values())).scores)
    blind = {n: m.scores for n, m in methods.items() if n != ORACLE}
    lines = [
        "# The frontier on fixed features\n",
        (__doc__ or "").split("\n\n", 1)[1].strip() + "\n",
        f"{len(methods)} methods, {n} tasks.\n",
        "## Gain against cost\n", *gains(methods),
        "\nA star: no method that costs less gains more.\n",
        "## Critical differences\n", *critical(blind),
        "\nAs a diagram: [critical_difference.png](critical_difference.png).",
        "\n## What composes\n", *compositions(methods),
    ]  # fmt: skip
    for title, text in parts.items():
        lines += [f"\n## {title}\n", *text]
    lines += ["\n## What does nothing here, or loses\n", *nothing(methods, why)]
    return "\n".join(lines) + "\n"


def further(beside: Path) -> dict[str, list[str]]:
    """Sections of the other result folders that are there."""
    found: dict[str, list[str]] = {}
    if (beside / MORE["recipes"] / "per_task.csv").is_file():
        of = read(beside / MORE["recipes"])
        found["Under five recipes"] = [
            "Gain over no adaptation under the same recipe, in points, two pairs; recipes without a bottleneck leave "
            "methods that align features nothing to move.\n",
            *recipes({n: m.scores for n, m in of.items()}),
        ]
    if (beside / MORE["digits"] / "records").is_dir():
        found["On digits, a network trained from scratch"] = scratch(beside / MORE["digits"])
    if (shift := beside / "diagnosis" / "causes_label_shift.md").is_file():
        blocks = shift.read_text(encoding="utf-8").split("\n\n")
        found["On class-imbalanced draws"] = [
            "What methods for label shift close of what others lose against no adaptation, from "
            "[causes_label_shift.md](../diagnosis/causes_label_shift.md): 100 % is no adaptation, more a gain.\n",
            "\n\n".join(b for b in blocks if " loses " in b or " closes of " in b),
        ]
        if (others := beside / "diagnosis" / "causes_frontier.md").is_file():
            blocks = others.read_text(encoding="utf-8").split("\n\n")
            found["On class-imbalanced draws"] += [
                "\nThe other methods there, from [causes_frontier.md](../diagnosis/causes_frontier.md), mean "
                "accuracy in percent:\n",
                "\n\n".join(b for b in blocks if b.startswith("| method ")),
            ]
    if (beside / MORE["trials"] / "records").is_dir():
        found["Which rule finds the gain without labels"] = trials(beside / MORE["trials"])
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("results/frontier"))
    options = parser.parse_args(arguments)
    text = page(read(options.folder), reasons(options.folder), further(options.folder.parent))
    write_text(options.folder / "gains.md", text)
    print(f"wrote {options.folder / 'gains.md'}")


if __name__ == "__main__":
    main()
