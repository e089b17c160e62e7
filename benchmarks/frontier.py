"""What methods of 2020 to 2024 gain on fixed features, and at what cost: ``python -m benchmarks.frontier``.

Reads the tables that ``dazoo report`` wrote in a result folder; every number comes from there. A gain is the difference
of mean accuracies over the tasks of the table, in points; a cost the CPU seconds of a run. A composition ``a+b`` stands
beside ``a`` and ``b`` alone. Methods that gain less than half a point over what they start from, or lose, are listed
with what is known about why: on fixed features only a bottleneck and a head learn.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from math import nan
from pathlib import Path
from statistics import fmean

from dazoo.core.files import write_text

NOTHING = 0.5  # points
BASE = "source_only"
WHY = {
    "erm_plus": "strong views of a vector are noise and masks, and averaged weights of a short run are near the last",
    "m_pot": "two batches of 32 from ten classes share about 0.71 of their mass by class, and 0.75 is moved",
    "gh": "where only a bottleneck learns, gradients of both tasks seldom point against each other, and are left alone",
    "covi": "a nearly linear network labels mixtures of fixed features as the mixture of their labels anyway",
    "mic": "entries of a feature vector are hidden, not patches of a picture: there is no context to infer them from",
}
"""What most likely keeps a method from doing anything on fixed features; reasoned, not measured."""


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
        if row["metric"] == "accuracy" and row["mean"]:
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
        star = " *" if m.seconds < best and m.mean > base.mean and m.name != "target_oracle" else ""
        best = min(best, m.seconds) if m.name != "target_oracle" else best
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


def nothing(methods: dict[str, Method]) -> list[str]:
    """Methods that leave things as they are or worse, each with the reason where one is known."""
    lines = []
    for name, m in methods.items():
        first, _, second = name.partition("+")
        start = methods.get(first if second else BASE)
        if start is not None and name != BASE and m.mean - start.mean < NOTHING:
            part = second or name
            why = f"; most likely, {WHY[part]}." if part in WHY else "."
            lines.append(f"- {name}: {m.mean - start.mean:+.2f} over {start.name}{why}")
    return lines or ["None."]


def page(methods: dict[str, Method]) -> str:
    """The page as Markdown."""
    n = len(next(iter(methods.values())).scores)
    parts = [
        "# The frontier on fixed features\n",
        (__doc__ or "").split("\n\n", 1)[1].strip() + "\n",
        f"{len(methods)} methods, {n} tasks.\n",
        "## Gain against cost\n", *gains(methods),
        "\nA star: no method that costs less gains more.\n",
        "## What composes\n", *compositions(methods),
        "\n## What does nothing here, or loses\n", *nothing(methods),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("results/frontier"))
    options = parser.parse_args(arguments)
    write_text(options.folder / "gains.md", page(read(options.folder)))
    print(f"wrote {options.folder / 'gains.md'}")


if __name__ == "__main__":
    main()
