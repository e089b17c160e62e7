"""Forms for many samples beside the exact ones: ``python -m benchmarks.bounded --out results/bounded``.

Every method that has such a form is fitted twice on one task of about 2,000 samples a side, once exactly and once as if
that were too many: accuracy on the target, and CPU seconds of fit and prediction, in one process and in turns. Rows
that the table has already are kept unless ``--only`` names them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.peers.measure import Machine
from dazoo.api import evaluate
from dazoo.core import hparam
from dazoo.core.setting import MULTI_SOURCE, UNSUPERVISED
from dazoo.data.registry import load_task
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import METHODS, ShallowMethod, create_method
from dazoo.nets.frozen import frozen
from dazoo.shallow.classifiers import classifier

TASKS = {UNSUPERVISED: "mnist_usps/mnist->usps", MULTI_SOURCE: "office_caltech10/amazon+webcam->caltech10"}
FROZEN = "tf_efficientnet_lite0"  # of the photographs, whose SURF counts say little without a transform
POINTS = 1.0
HEADER = ("method", "task", "exact", "bounded", "exact_cpu_seconds", "bounded_cpu_seconds")
# methods without a field for their memory: the constant above which they take their other form
LIMITS = {
    "label_propagation": "dazoo.methods.subspace._graph.DENSE_LIMIT",
    "meda": "dazoo.methods.subspace._graph.DENSE_LIMIT",
    "ldm": "dazoo.methods.reweighting.ldm.MANY",
    "kde_ratio": "dazoo.methods.reweighting.kde_ratio.MANY_PAIRS",
}  # fmt: skip


def methods() -> list[str]:
    """All methods that have a form for many samples, those that declare a memory and those with a constant."""
    shallow = [n for n in METHODS.names() if issubclass(METHODS.get(n), ShallowMethod)]
    return [n for n in shallow if n in LIMITS or "memory_gib" in hparam.space(METHODS.get(n))]


@cache
def photographs(name: str) -> Task:
    """The task of several sources as frozen features."""
    raw = load_task(name, setting=MULTI_SOURCE, features="images")
    return replace(raw, sources=tuple(frozen(s, FROZEN) for s in raw.sources), target=frozen(raw.target, FROZEN))


def measure(name: str, bounded: bool) -> tuple[str, float, float]:
    """The task, accuracy on its target in percent, and CPU seconds."""
    setting = next((s for s in TASKS if s in METHODS.get(name).settings), UNSUPERVISED)
    task = photographs(TASKS[setting]) if setting == MULTI_SOURCE else load_task(TASKS[setting], setting=setting)
    more: dict[str, Any] = {"memory_gib": 1e-6} if bounded and name not in LIMITS else {}
    options = Options(classifier=classifier("logistic"))
    seen = task.seen()
    with ExitStack() as stack:
        if bounded and name in LIMITS:
            stack.enter_context(mock.patch(LIMITS[name], 0))
        before = time.process_time()
        result = fit(create_method(name, **more), seen, options=options)
        result.predictor.predict(seen.target.x)
        spent = time.process_time() - before
        return TASKS[setting], 100 * evaluate(result.predictor, task)["accuracy"], spent


def read(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def write(folder: Path, rows: dict[str, dict[str, str]]) -> None:
    """The table as CSV and Markdown, the rows that differ by more than ``POINTS`` named."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = [rows[n] for n in sorted(rows)]
    with (folder / "bounded.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(shown)
    below = [r["method"] for r in shown if float(r["bounded"]) < float(r["exact"]) - POINTS]
    lines = [f"| {' | '.join(r[k] for k in HEADER)} |" for r in shown]
    here = Machine.here(("numpy", "scipy", "scikit-learn", "torch", "POT"))
    text = [
        "# Forms for many samples beside the exact ones", "",
        "Accuracy on the target in percent and CPU seconds of fit and prediction; `bounded` is what a method does "
        "where its matrices would be too large, made to do so here.", "",
        "| method | task | exact | bounded | exact, CPU s | bounded, CPU s |", "|---" * len(HEADER) + "|", *lines, "",
        f"More than {POINTS:g} point below the exact form: {', '.join(below) or 'none'}.", "",
        f"Machine: {here.text}. Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", "",
        "Made by `python -m benchmarks.bounded`.", "",
    ]  # fmt: skip
    (folder / "bounded.md").write_text("\n".join(text), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bounded", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bounded"))
    parser.add_argument("--only", nargs="*", default=[], metavar="METHOD")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = read(options.out / "bounded.csv")
    for name in options.only or [n for n in methods() if n not in rows]:
        (task, exact, long), (_, bounded, short) = (measure(name, b) for b in (False, True))
        values = (name, task, f"{exact:.2f}", f"{bounded:.2f}", f"{long:.2f}", f"{short:.2f}")
        rows[name] = dict(zip(HEADER, values))
        print(rows[name], file=sys.stderr, flush=True)
        write(options.out, rows)


if __name__ == "__main__":
    main()
