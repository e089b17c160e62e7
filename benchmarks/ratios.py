"""What faster ways of the same maths save: ``python -m benchmarks.ratios --out results/ratios``.

Each row runs the way of before and the one of now in one process, in turns: CPU seconds of both, their ratio, and how
far the results are apart. For methods that treat many samples in another way that is 20,000 + 20,000 samples of 128
features (``--n``), and the way of before is had by raising the limit above which they do; for others it is kept in
``benchmarks.before``, and those of ``FEATURES`` see the frozen features of Office-Caltech10.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.before import FEATURES
from benchmarks.peers.measure import Machine, one_thread
from benchmarks.scaling.growth import task_of
from benchmarks.scaling.measure import made
from dazoo.core.types import Seen
from dazoo.data.registry import load_domain
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.methods.base import create_method
from dazoo.nets.frozen import frozen
from dazoo.ops import moments
from dazoo.ops.linalg.linear import gram
from dazoo.shallow.classifiers import classifier

HEADER = ("what", "before_cpu_seconds", "now_cpu_seconds", "ratio", "difference")
LIMITS = {
    "ldm": "dazoo.methods.reweighting.ldm.MANY",
    "kde_ratio": "dazoo.methods.reweighting.kde_ratio.MANY_PAIRS",
    "sot": "dazoo.methods.transport.sot.MOST_SAMPLES",
    "transfer_forest": "dazoo.methods.parameter_transfer.transfer_forest.MOST_SAMPLES",
}
KERNELS = {"tsl": "dazoo.methods.subspace.tsl.mean_kernel"}


def photographs() -> Seen:
    """amazon -> caltech10 as features of a frozen network, 766 + 1,123 x 1,280."""
    source, target = (
        frozen(load_domain("office_caltech10", d, features="images"), "tf_efficientnet_lite0")
        for d in ("amazon", "caltech10")
    )
    return Task("office_caltech10/amazon->caltech10", (source,), target, source_holdout=0.2).seen()


def fitted(name: str, seen: Seen) -> Callable[[], Tensor]:
    """Fit and predict; returns the predicted labels."""

    def run() -> Tensor:
        result = fit(create_method(name), seen, options=Options(classifier=classifier("logistic")))
        return result.predictor.predict(seen.target.x).labels

    return run


def log_coral(whole: bool) -> Callable[[], Tensor]:
    """Value and gradient of ``ops.moments.log_coral`` for batches of 32 rows of 256 features, a hundred times."""
    seen = made(64, 256)[0]
    assert seen.source is not None
    fs, ft = (x[:32].clone().requires_grad_() for x in (seen.source.x, seen.target.x))

    def run() -> Tensor:
        for _ in range(100):
            fs.grad = ft.grad = None
            if whole:
                gap = moments._log_spd(moments.covariance(fs), 1e-3) - moments._log_spd(moments.covariance(ft), 1e-3)
                (gap.square().sum() / (4.0 * 256 * 256)).backward()
            else:
                moments.log_coral(fs, ft).backward()
        assert fs.grad is not None and ft.grad is not None
        return torch.cat([fs.grad, ft.grad])

    return run


def timed(run: Callable[[], Tensor], patch: tuple[str, Any] | None) -> tuple[float, Tensor]:
    with ExitStack() as stack:
        if patch is not None:
            stack.enter_context(mock.patch(*patch))
        before = time.process_time()
        found = run()
        return time.process_time() - before, found


def told(before: Tensor, now: Tensor) -> str:
    if before.is_floating_point():
        return f"{float((before - now).abs().max() / before.abs().max()):.1e} of the largest gradient"
    return f"{100 * float((before != now).double().mean()):.2f} % of labels"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/ratios"))
    parser.add_argument("--only", nargs="*", default=["log_coral", *KERNELS, *LIMITS, *FEATURES])
    parser.add_argument("--n", type=int, default=20_000)
    options = parser.parse_args(arguments)
    one_thread()
    path = options.out / "ratios.csv"
    rows: dict[str, dict[str, str]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = {r["what"]: r for r in csv.DictReader(file)}
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        patch: tuple[str, Any] | None = None
        if name == "log_coral":
            what, old, new = "log_coral, 100 steps of 32 + 32 x 256", log_coral(True), log_coral(False)
        elif name in FEATURES:
            what, patch = f"{name}, amazon -> caltech10, 766 + 1,123 x 1,280", FEATURES[name]
            fitted(name, task_of(name, 100, 8))()
            old = new = fitted(name, photographs())
        else:
            n, d = (options.n, 128) if name in LIMITS else (1_000, 256)
            what = f"{name}, {n:,} + {n:,} x {d}"
            old = new = fitted(name, task_of(name, n, d))
            fitted(name, task_of(name, 300, 8))()  # loads what the libraries load late
            if name in LIMITS:
                patch = (LIMITS[name], 1 << 60)
            else:
                patch = (KERNELS[name], lambda x, y, gamma: gram("rbf", x, y, gamma).mean())
        (long, before), (short, now) = timed(old, patch), timed(new, None)
        values = (what, f"{long:.2f}", f"{short:.2f}", f"{long / short:.1f}", told(before, now))
        rows[what] = dict(zip(HEADER, values))
        print(rows[what], file=sys.stderr, flush=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
        here = Machine.here(("numpy", "scipy", "scikit-learn", "torch", "POT"))
        text = [
            "# Before and after", "", "CPU seconds in one process, one thread.", "",
            "| what | before | now | ratio | results differ by |", "|---|---|---|---|---|",
            *(f"| {' | '.join(r[k] for k in HEADER)} |" for r in rows.values()), "",
            f"Machine: {here.text}. Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", "",
            "Made by `python -m benchmarks.ratios`.", "",
        ]  # fmt: skip
        (options.out / "ratios.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
