"""How often findings accuse what is clean, and name what was planted: ``python -m benchmarks.false_alarms``.

Every line of the page is a count over made-up tasks, runs or suites whose truth is known. Three parts: tasks before
training (``dazoo.diagnose``), single runs (``engine.watch``), and suites (``bench.findings``).
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor, nn

from dazoo.bench.analysis.findings import findings
from dazoo.bench.analysis.select import Cell
from dazoo.bench.execute.machine import machine
from dazoo.core.files import write_text
from dazoo.core.paper import Paper
from dazoo.data.task import Task
from dazoo.diagnosis import Diagnosis, diagnose
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, Batch, GradientMethod, Progress, create_method
from dazoo.nets.net import Net

OUT = Path("results/diagnosis/false_alarms.md")
RECIPE = Recipe.named("frozen", steps=100, bottleneck=16, norm="none")
CLEAN_METHODS = ("source_only", "dann", "cdan", "adda", "dan", "deep_coral", "mcc", "mada", "gvb")


@dataclass(frozen=True)
class Rate:
    """``hits`` of ``n`` with Clopper and Pearson's 95 % interval."""

    what: str
    hits: int
    n: int

    def row(self) -> str:
        low = float(beta.ppf(0.025, self.hits, self.n - self.hits + 1)) if self.hits else 0.0
        high = float(beta.ppf(0.975, self.hits + 1, self.n - self.hits)) if self.hits < self.n else 1.0
        return f"| {self.what} | {self.hits} of {self.n} | {self.hits / self.n:.1%} | {low:.1%} to {high:.1%} |"


# -- tasks --------------------------------------------------------------------------------------------------------

SHAPES = {"3 classes, 4 features, 60 samples": (3, 4, 60), "10 classes, 20 features, 300 samples": (10, 20, 300),
          "2 classes, 100 features, 60 samples": (2, 100, 60)}  # fmt: skip


def task(seed: int, classes: int, d: int, n: int, *, skew: float = 1.0, move: float = 0.0) -> Task:
    """Gaussian classes; the target's last class is ``skew`` times as frequent, its last feature moved by ``move``.

    The last feature holds no class where there are more features than classes.
    """
    rng = np.random.default_rng(seed)
    share = np.ones(classes)
    share[-1] = skew
    ys, yt = rng.integers(classes, size=n), rng.choice(classes, n, p=share / share.sum())
    xs, xt = (3.0 * np.eye(classes, d)[y] + rng.standard_normal((n, d)) for y in (ys, yt))
    xt[:, -1] += move
    ys[:classes] = np.arange(classes)  # every class occurs
    xs[:classes] = 3.0 * np.eye(classes, d) + rng.standard_normal((classes, d))
    return Task.from_arrays(xs, ys, xt, yt)


def of_tasks(n: int) -> list[Rate]:
    """``n`` clean tasks of each shape, and a quarter as many with other class proportions or with a moved feature."""
    rates = []
    for shape, sizes in SHAPES.items():
        found = [diagnose(task(s, *sizes)) for s in range(n)]
        rates.append(Rate(f"clean: any shift found ({shape})", sum(d.kind != "none" for d in found), n))
        tests: dict[str, Callable[[Diagnosis], float]] = {
            "A-distance": lambda d: d.domains.a_p,
            "MMD": lambda d: d.domains.mmd_p,
            "class proportions": lambda d: d.labels.p if d.labels else math.nan,
        }
        for name, p in tests.items():
            rates.append(Rate(f"clean: {name} alone, p < 0.05 ({shape})", sum(p(d) < 0.05 for d in found), n))
    few = math.ceil(n / 4)
    for classes, d, size in ((3, 4, 200), (10, 20, 300)):
        shape = f"{classes} classes, {d} features, {size} samples"
        skewed = [diagnose(task(s, classes, d, size, skew=2.0 * classes)) for s in range(few)]
        moved = [diagnose(task(s, classes, d, size, move=1.0)) for s in range(few)]
        rates += [
            Rate(f"planted label shift: named so ({shape})", sum(f.kind == "labels" for f in skewed), few),
            Rate(f"planted label shift: features accused too ({shape})", sum(f.kind == "both" for f in skewed), few),
            Rate(f"planted moved feature: named so ({shape})", sum(f.kind == "features" for f in moved), few),
            Rate(f"planted moved feature: called label shift ({shape})", sum(f.kind == "labels" for f in moved), few),
        ]  # fmt: skip
    return rates


# -- runs ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Faint(GradientMethod):
    """Source-only with a term whose weight is far too small."""

    name, family, paper = "faint", "planted", Paper("-", "-", 2026, "https://example.org")

    def losses(self, net: Net, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)
        return {"cls": net.criterion(net.head(fs), b.ys), "gap": 1e-6 * (fs.mean(0) - ft.mean(0)).square().sum()}


class Blind(METHODS.get("dann")):  # type: ignore[misc]
    """A discriminator that never moves and says little."""

    def part_lr(self) -> dict[str, float]:
        return {"disc": 0.0}

    def build(self, width: int, n_classes: int) -> dict[str, nn.Module]:
        parts: dict[str, nn.Module] = super().build(width, n_classes)
        for p in parts["disc"].parameters():
            p.data *= 0.3
        return parts


def run(method: GradientMethod, seed: int, move: float, recipe: Recipe = RECIPE) -> set[str]:
    """Kinds of findings about one run."""
    rng = np.random.default_rng(seed)
    y = np.arange(120) % 2
    xs, xt = (rng.standard_normal((120, 6)) + 2.0 * np.eye(2, 6)[y] for _ in range(2))
    xt[:, 5] += move
    seen = Task.from_arrays(xs, y, xt, y).seen()
    return {f["kind"] for f in fit(method, seen, seed=seed, options=Options(recipe=recipe)).info["findings"]}


def of_runs(n: int) -> list[Rate]:
    """Clean runs of several methods, and planted faults."""
    rates = []
    for move in (0.0, 1.5):
        clean = [run(create_method(m), s, move) for m in CLEAN_METHODS for s in range(n)]  # type: ignore[arg-type]
        kinds = Counter(k for found in clean for k in found)
        where = f"domains {move:g} standard deviations apart, {len(CLEAN_METHODS)} methods"
        rates.append(Rate(f"clean: any finding ({where})", sum(bool(f) for f in clean), len(clean)))
        rates += [Rate(f"clean: {kind} ({where})", hits, len(clean)) for kind, hits in sorted(kinds.items())]
    saturated, classwise = create_method("dann", trade_off=0.05), create_method("mada", trade_off=0.003)
    fast, longer = (Recipe.named("frozen", steps=n, bottleneck=16, norm="none", lr=0.1) for n in (100, 200))
    planted: Iterable[tuple[str, str, GradientMethod, float, Recipe]] = (
        ("a term with a weight of 1e-6", "inert term", Faint(), 1.5, RECIPE),
        ("DANN at 0.05 on domains 20 apart", "saturated discriminator", saturated, 20.0, fast),  # type: ignore[arg-type]
        ("MADA at 0.003 on domains 20 apart", "saturated discriminator", classwise, 20.0, longer),  # type: ignore[arg-type]
        ("DANN whose discriminator stands still", "blind discriminator", Blind(), 4.0, RECIPE),
    )
    for what, kind, method, move, recipe in planted:
        rates.append(Rate(f"planted {what}: {kind}", sum(kind in run(method, s, move, recipe) for s in range(n)), n))
    return rates


# -- suites -------------------------------------------------------------------------------------------------------


def suite(seed: int, tasks: int, seeds: int, worse: float = 0.0, shaky: float = 0.03) -> set[tuple[str, str]]:
    """Findings (kind, method) in a suite of four equal methods over a baseline; ``m1`` loses ``worse``, and ``m2`` has
    ``shaky`` as its standard deviation on the first task."""
    rng = np.random.default_rng(seed)
    cells = {}
    for label in (f"m{i}" for i in range(5)):
        for t in range(tasks):
            spread = shaky if (label, t) == ("m2", 0) else 0.03
            values = rng.normal(0.7 - worse * (label == "m1"), spread, seeds)
            family = "baseline" if label == "m0" else "other"
            numbers = tuple(range(seeds))
            cells[label, f"t{t}"] = Cell(
                label, label, family, f"t{t}", "unsupervised", values, 0, numbers, (), 0, seeds, (), 1.0, "last"
            )
    return {(f.kind, f.label) for f in findings([], cells, higher=True, share=True)}


def of_suites(n: int) -> list[Rate]:
    """Clean suites, a subtly worse method, and an unstable one."""
    clean = [suite(s, 4, 3) for s in range(n)]
    worse = [suite(s, 12, 5, worse=0.03) for s in range(n)]
    shaky = [suite(s, 12, 5, shaky=0.15) for s in range(n)]
    kinds = ("negative transfer", "unstable")
    rates = [Rate("clean: any finding (4 methods, 4 tasks, 3 seeds)", sum(bool(f) for f in clean), n)]
    rates += [Rate(f"clean: {k}", sum(any(kind == k for kind, _ in f) for f in clean), n) for k in kinds]
    rates.append(
        Rate("planted: a method worse by one standard deviation of a seed (12 tasks, 5 seeds)",
             sum(("negative transfer", "m1") in f for f in worse), n)
    )  # fmt: skip
    others = sum(any(k == "negative transfer" and m != "m1" for k, m in f) for f in worse)
    rates.append(Rate("the same suites: another method accused of negative transfer", others, n))
    rates.append(
        Rate("planted: five times the usual deviation over seeds", sum(("unstable", "m2") in f for f in shaky), n)
    )
    equal = [suite(s, 12, 5) for s in range(n)]
    below = sum(any(k == "below baseline" for k, _ in f) for f in equal)
    rates.append(
        Rate("equal methods whose mean lies a point below the baseline (12 tasks, 5 seeds), no test", below, n)
    )
    return rates


# -- the page -----------------------------------------------------------------------------------------------------

HEAD = """# False alarms of diagnosis and findings

Counts over made-up tasks, runs and suites whose truth is known, made by `python -m benchmarks.false_alarms`. Intervals
are Clopper and Pearson's at 95 %. Bounds by design: a clean task is accused of a shift in at most 5 % of cases (three
tests at 0.05 / 3), each test alone in at most 5 % at p < 0.05, and in a clean suite anybody is accused of
negative transfer in at most 5 %, and of instability in at most 5 %. That a mean lies more than a point below a baseline
is said of the table at hand, not of the methods: it comes without a test, and has no bound.
"""


def page(tasks: int, runs: int, suites: int) -> str:
    """The whole page."""
    began, parts = time.perf_counter(), [HEAD]
    for title, rates in (
        ("Tasks before training", of_tasks(tasks)),
        ("Single runs", of_runs(runs)),
        ("Suites", of_suites(suites)),
    ):
        parts += [f"## {title}\n", "| what | how often | rate | 95 % interval |", "|---|---|---|---|"]
        parts += [r.row() for r in rates] + [""]
    here = machine("cpu")
    versions = ", ".join(f"{k} {v}" for k, v in here["versions"].items())
    seconds = time.perf_counter() - began
    parts.append(f"Made in {seconds:.0f} s on {here['machine']['processor']} with {versions}.")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--tasks", type=int, default=200, help="tasks per line")
    options.add_argument("--runs", type=int, default=30, help="seeds per method")
    options.add_argument("--suites", type=int, default=500, help="suites per line")
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    torch.set_num_threads(1)
    write_text(given.out, page(given.tasks, given.runs, given.suites))
    print(f"written: {given.out}")


if __name__ == "__main__":
    main()
