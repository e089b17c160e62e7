"""Why methods fall below no adaptation on Office-Caltech10: ``python -m benchmarks.causes [METHOD ...]``.

Every method is trained twice on each of the twelve pairs of frozen EfficientNet-Lite0 features, with its defaults, on
equally many samples per domain: drawn in the domain's own class proportions, and drawn with every class equally often.
If only the second is harmless, what hurts is the difference of class proportions between the domains, which a method
that aligns marginal or joint distributions takes for a shift to be removed. The draws use target labels: this explains
results and chooses nothing.

Without names, all methods of the committed table that are more than a point below ``source_only`` are meant, and those
with runs that failed. Some methods stand beside the one they would be without their particular part: ``sa`` beside
``pca`` (no alignment of the subspaces) and ``flexmatch`` beside ``fixmatch`` (a fixed threshold).

With ``--own`` only the first draw is made, on which methods for label shift are to lose less than others do. With
``--close jan wdgrl`` the page says how much of what these two lose against ``source_only`` each method closes:
(method - jan) / (source_only - jan); a composition ``jan+other`` stands against ``jan`` alone.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from dazoo.bench.execute.machine import machine
from dazoo.core.files import write_text
from dazoo.data.domain import Domain
from dazoo.data.registry import data_root, load_domain
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import METHODS, GradientMethod, create_method
from dazoo.nets.frozen import frozen

OUT = Path("results/diagnosis/causes.md")
DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
TABLE = Path("results/office_caltech10_features/leaderboard.csv")
BESIDE = ("fixmatch", "pca")
POINT = 0.01


def flagged() -> list[str]:
    """Methods of the committed table more than a point below no adaptation, and those that stand beside them."""
    rows = {row["method"]: row["mean"] for row in csv.DictReader(TABLE.read_text().splitlines())}
    bound = float(rows["source_only"]) - POINT
    found = [n for n, mean in rows.items() if n in METHODS and (mean.startswith("failed") or float(mean) < bound)]
    return [*found, *(name for name in BESIDE if name not in found)]


def drawn(domain: Domain, equal: bool) -> Domain:
    """As many rows as ten times the rarest class has, in the domain's own proportions or equally many of each class."""
    assert domain.y is not None
    order = torch.randperm(len(domain.y), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(domain.y)
    size = int(counts.min())
    if equal:
        rows = torch.cat([order[domain.y[order] == c][:size] for c in range(len(counts))])
    else:
        rows = order[: size * len(counts)]
    return replace(domain, x=domain.x[rows], y=domain.y[rows])


def accuracy(name: str, task: Task) -> float:
    """Percent of the target labelled rightly by the last model; shallow methods before logistic regression."""
    method = create_method(name)
    recipe = Recipe.named("frozen") if isinstance(method, GradientMethod) else None
    hidden = task.hidden()
    predictor = fit(method, task.seen(), seed=0, options=Options(recipe=recipe)).predictor
    return 100 * float((predictor.predict(hidden.x).labels == hidden.y).double().mean())


def measured(names: list[str], pairs: list[tuple[Domain, Domain]], own: bool = False) -> dict[str, list[float]]:
    """Mean accuracies by method, no adaptation first, in both cases or with the domains' own proportions alone."""
    found: dict[str, list[float]] = {}
    for name in dict.fromkeys(["source_only", *names]):
        for equal in (False,) if own else (False, True):
            tasks = [
                Task(f"{s.name}->{t.name}", (drawn(s, equal),), drawn(t, equal), source_holdout=0.2) for s, t in pairs
            ]
            scores = [accuracy(name, t) for t in tasks]
            found.setdefault(name, []).append(sum(scores) / len(scores))
        print(name, *(f"{mean:.2f}" for mean in found[name]), file=sys.stderr, flush=True)
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    """A row per method, and what is left of the loss against no adaptation where both cases were measured."""
    reference = found["source_only"]
    own = len(reference) == 1
    heads = ["method", "own proportions", "against source_only", "equal proportions", "against source_only"]
    heads = heads[:3] if own else [*heads, "loss goes away"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, means in found.items():
        first, second = means[0] - reference[0], means[-1] - reference[-1]
        verdict = "-" if first >= 0 else "yes" if second >= 0 else "in part" if second > first / 2 else "no"
        row = f"| {name} | {means[0]:.1f} | {first:+.1f} |"
        lines.append(row if own else f"{row} {means[1]:.1f} | {second:+.1f} | {verdict} |")
    return lines


def closed(found: dict[str, list[float]], losing: list[str]) -> list[str]:
    """A row per method: how much it closes of what each of ``losing`` loses in the domains' own proportions."""
    base = found["source_only"][0]
    lost = {name: base - found[name][0] for name in losing if found[name][0] < base}
    lines = ["", *(f"{n} loses {lost[n]:.2f} points." if n in lost else f"{n} loses nothing." for n in losing), ""]
    if not lost:
        return lines
    lines += ["| method | " + " | ".join(f"closes of {n} (%)" for n in lost) + " | at least half |"]
    lines += ["|---" * (len(lost) + 2) + "|"]
    for name, means in found.items():
        if name in ("source_only", *losing):
            continue
        meant = {n for n in lost if name.partition("+")[0] == n} or set(lost)
        shares = {n: 1 - (base - means[0]) / lost[n] for n in lost if n in meant}
        cells = [f"{100 * shares[n]:.0f}" if n in shares else "-" for n in lost]
        lines.append(f"| {name} | {' | '.join(cells)} | {'yes' if min(shares.values()) >= 0.5 else 'no'} |")
    return lines


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causes", description=__doc__.split("\n")[0])
    parser.add_argument("methods", nargs="*", help="unsupervised methods; default: those below source_only")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--own", action="store_true", help="draw in the domains' own proportions alone")
    parser.add_argument("--close", nargs="+", default=[], metavar="METHOD", help="whose loss is to be closed")
    options = parser.parse_args()
    options.methods = [*options.close, *(options.methods or flagged())]
    for name in options.methods:
        METHODS.get(name)
    torch.set_num_threads(1)
    began = time.perf_counter()
    loaded = [load_domain("office_caltech10", d, data_root(), features="images") for d in DOMAINS]
    domains = [frozen(d, "tf_efficientnet_lite0") for d in loaded]
    found = measured(options.methods, [(s, t) for s in domains for t in domains if s is not t], options.own)
    lines = table(found) + (closed(found, options.close) if options.close else [])
    here = machine("cpu")
    versions = ", ".join(f"{k} {v}" for k, v in here["versions"].items())
    text = [
        "# Why methods fall below no adaptation on Office-Caltech10\n",
        __doc__.split("\n\n", 1)[1].strip() + "\n",
        "Mean accuracy in percent over twelve pairs, one seed, the last model of each run. A loss goes away `in part` "
        "where less than half of it is left.\n",
        *lines,
        f"\nMade by `{' '.join(['python -m benchmarks.causes', *sys.argv[1:]])}` in "
        f"{time.perf_counter() - began:.0f} s on {here['machine']['processor']} with {versions}.",
    ]
    write_text(options.out, "\n".join(text) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
