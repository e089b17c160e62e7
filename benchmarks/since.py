"""Shallow methods at an earlier commit and now: ``python -m benchmarks.since COMMIT --out results/ratios``.

Both versions of the package live in one process and take turns on the same arrays: CPU seconds of a fit with a
prediction of the target, their ratio, and the share of target labels that differ. Data are pairs of the suite
``office_caltech10_features``, with its classifier and held-out source samples, and nothing is shared between runs.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.measure import Machine, one_thread

HEADER = ("method", "pair", "before_cpu_seconds", "now_cpu_seconds", "ratio", "labels_that_differ", "before", "load")
PAIRS = ("caltech10->amazon", "amazon->webcam")


@dataclass
class Version:
    """A version of the package: what ``sys.modules`` and ``sys.path`` say while it runs."""

    root: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Imports, late ones too, see this version inside."""
        others = {k: sys.modules.pop(k) for k in list(sys.modules) if k.split(".")[0] == "dazoo"}
        sys.modules.update(self.modules)
        sys.path.insert(0, str(self.root))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(self.root))
            self.modules = {k: sys.modules.pop(k) for k in list(sys.modules) if k.split(".")[0] == "dazoo"}
            sys.modules.update(others)

    def seen(self, arrays: dict[str, Tensor], n_classes: int) -> Any:
        """The arrays as this version's ``Seen``."""
        with self.active():
            from dazoo.core.setting import Setting
            from dazoo.core.types import Labeled, Seen, Unlabeled

            marked = "few_x" in arrays
            few = Labeled(arrays["few_x"], arrays["few_y"], torch.zeros_like(arrays["few_y"])) if marked else None
            xs, y, xt = (arrays[k] for k in ("source_x", "source_y", "target_x"))
            return Seen(
                Labeled(xs, y, torch.zeros_like(y)), Unlabeled(xt), few, n_classes, "vector",
                Setting.of("few_labels" if marked else "unsupervised"),
            )  # fmt: skip

    def run(self, name: str, hparams: dict[str, Any], seen: Any) -> tuple[float, Tensor]:
        """CPU seconds, and labels of the target."""
        with self.active():
            from dazoo.core.memo import Domains, Memo
            from dazoo.engine.fit import Options, fit
            from dazoo.methods.base import create_method
            from dazoo.shallow.classifiers import classifier

            method, options = create_method(name, **hparams), Options(classifier=classifier("logistic"))
            began = time.process_time()
            result = fit(method, seen, options=options, memo=Memo(Domains()))
            labels = result.predictor.predict(seen.target.x).labels
            return time.process_time() - began, labels


def extracted(commit: str, folder: Path) -> Path:
    """The package as it was at ``commit``, in ``folder``."""
    archive = subprocess.run(["git", "archive", commit, "dazoo"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def runs(pair: str, only: list[str]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Tensor], int]]:
    """Row, name, hyper-parameters and arrays of the shallow methods of the suite on ``pair``, first seed."""
    from dazoo.bench.execute.runner import options_of
    from dazoo.bench.execute.tasks import Tasks
    from dazoo.bench.plan.plan import make_plan
    from dazoo.bench.plan.suite import Suite
    from dazoo.engine.fit import solver_of
    from dazoo.methods.base import METHODS

    plan, tasks = make_plan(Suite.load("dazoo/suites/office_caltech10_features.yaml")), Tasks()
    known: dict[str, tuple[dict[str, Tensor], int]] = {}
    for spec in plan.specs:
        if not spec.task.endswith(pair) or spec.seed != 0 or (only and spec.method not in only):
            continue
        if solver_of(METHODS.get(spec.method), options_of(spec.protocol).recipe) != "shallow":
            continue
        if spec.setting not in known:
            seen = tasks(spec).seen()
            assert seen.source is not None
            arrays = {"source_x": seen.source.x, "source_y": seen.source.y, "target_x": seen.target.x}
            if seen.few is not None:
                arrays |= {"few_x": seen.few.x, "few_y": seen.few.y}
            known[spec.setting] = arrays, seen.n_classes
        yield spec.label, spec.method, spec.hparams, *known[spec.setting]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.since", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--out", type=Path, default=Path("results/ratios"))
    parser.add_argument("--only", nargs="*", default=[], help="methods")
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS))
    parser.add_argument("--repeats", type=int, default=1, help="runs of each version, of which the fastest counts")
    options = parser.parse_args(arguments)
    one_thread()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "since.csv"
    rows: dict[tuple[str, str], dict[str, str]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = {(r["method"], r["pair"]): r for r in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as folder:
        versions = [Version(extracted(options.commit, Path(folder))), Version(Path.cwd())]
        with versions[1].active():
            todo = [(pair, *run) for pair in options.pairs for run in runs(pair, options.only)]
        for pair, label, name, hparams, arrays, n_classes in todo:
            few = {k: v[:: max(1, len(v) // 60)] for k, v in arrays.items()}
            best, found = [float("inf")] * 2, [torch.empty(0)] * 2
            for version in versions:  # loads what is loaded late
                version.run(name, hparams, version.seen(few, n_classes))
            seen = [version.seen(arrays, n_classes) for version in versions]
            for turn in range(2 * options.repeats):
                i = turn % 2
                seconds, found[i] = versions[i].run(name, hparams, seen[i])
                best[i] = min(best[i], seconds)
            differ = f"{100 * float((found[0] != found[1]).double().mean()):.2f} %"
            told = (label, pair, *(f"{s:.3f}" for s in best), f"{best[0] / best[1]:.1f}", differ, options.commit[:9])
            rows[label, pair] = dict(zip(HEADER, (*told, load())))
            print(rows[label, pair], file=sys.stderr, flush=True)
            write(options.out, rows)


def load() -> str:
    """How many processes wanted the cores in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def write(folder: Path, rows: dict[tuple[str, str], dict[str, str]]) -> None:
    """``since.csv`` and ``since.md``: the dearest before first."""
    ordered = sorted(rows.values(), key=lambda r: (r["pair"], -float(r["before_cpu_seconds"])))
    with (folder / "since.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(ordered)
    here = Machine.here(("numpy", "scipy", "scikit-learn", "torch", "POT"))
    lines = ["# Shallow methods before and now", "", (__doc__ or "").split("\n\n", 1)[1].strip(), ""]
    for pair in dict.fromkeys(r["pair"] for r in ordered):
        mine = [r for r in ordered if r["pair"] == pair]
        total = [sum(float(r[k]) for r in mine) for k in ("before_cpu_seconds", "now_cpu_seconds")]
        lines += [f"## {pair}", "", "| method | before | now | ratio | labels that differ |", "|---|---|---|---|---|"]
        lines += [
            f"| {r['method']} | {r['before_cpu_seconds']} | {r['now_cpu_seconds']} | {r['ratio']} "
            f"| {r['labels_that_differ']} |" for r in mine
        ]  # fmt: skip
        lines += [f"| all {len(mine)} | {total[0]:.1f} | {total[1]:.1f} | {total[0] / total[1]:.1f} | |", ""]
    loads = [float(r["load"]) for r in ordered]
    commits = ", ".join(dict.fromkeys(r["before"] for r in ordered))
    lines += [
        f"Before: {commits}. Machine: {here.text}; load {min(loads):.0f} to {max(loads):.0f}. "
        f"Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", "",
        "Made by `python -m benchmarks.since`.", "",
    ]  # fmt: skip
    (folder / "since.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
