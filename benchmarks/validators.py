"""Time and memory of every validator on 100,000 target samples of 256 dimensions, each in a process of its own.

    python -m benchmarks.validators [--rows 100000] [--width 256] [--classes 10] [--only NAME ...] [--out FOLDER]

The samples are Gaussian clusters, one per class, shifted in the target; predictions come from a linear classifier and
are right for most samples. The source has as many rows, a fifth of them held out. Groups of candidates are three
models. Rows are written as they are made; with ``--only`` the other rows of an earlier run stay. Memory is the growth
of the process's resident memory over the evidence, at its peak; one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SECONDS, MEGABYTES = 60.0, 2000.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validators", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("results/validators"))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.rows, options.width, options.classes)))
        return
    from dazoo.validators.base import VALIDATORS

    rows = earlier(options.out / "validators.csv") if options.only else {}
    for name in options.only or VALIDATORS.names():
        rows[name] = {"validator": name, "cost": VALIDATORS.get(name).cost, **in_process(name, options)}
        print(rows[name], file=sys.stderr, flush=True)
        write(options.out, [rows[n] for n in sorted(rows)], options)


def earlier(path: Path) -> dict[str, dict[str, object]]:
    """The rows of an earlier run by validator."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        found = {r["validator"]: dict(r) for r in csv.DictReader(file)}
    numbers = ("seconds", "cpu_seconds", "mb", "score")
    return {n: {**r, **{k: float(r[k]) if r[k] else None for k in numbers}} for n, r in found.items()}


def in_process(name: str, options: argparse.Namespace) -> dict[str, object]:
    sizes = ["--rows", str(options.rows), "--width", str(options.width), "--classes", str(options.classes)]
    command = [sys.executable, "-m", "benchmarks.validators", "--measure", name, *sizes]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(name: str, n: int, d: int, c: int) -> dict[str, object]:
    """Seconds, peak growth of memory in MB and the score of one validator."""
    import torch

    from dazoo.bench.execute.machine import peak_memory, reset_peak
    from dazoo.validators.base import VALIDATORS, Candidate, Evidence

    torch.set_num_threads(1)
    validator = VALIDATORS.get(name)
    evidence = [made(n, d, c, shift) for shift in ((0.3, 0.4, 0.5) if validator.of_group else (0.3,))]
    for each in evidence:
        _ = each.target_probs, each.source_scores, each.source_val_scores, each.head
    warm = made(500, d, c, 0.3)

    def score_of(models: list[Evidence]) -> float | None:
        if not validator.of_group:
            return validator(models[0])
        return validator.of([Candidate(lambda e=e: e, {"trade_off": float(i)}) for i, e in enumerate(models)])[-1]

    score_of([warm, warm, warm])  # pays for imports
    reset_peak("cpu")
    before, began, used = peak_memory("cpu") or 0.0, time.perf_counter(), time.process_time()
    score = score_of(evidence)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return {"seconds": seconds, "cpu_seconds": cpu, "mb": (peak_memory("cpu") or 0.0) - before, "score": score}


def made(n: int, d: int, c: int, shift: float):  # type: ignore[no-untyped-def]
    """Evidence on made-up features."""
    import torch

    from dazoo.core.setting import UNSUPERVISED
    from dazoo.core.types import Labeled, Prediction, Seen, Unlabeled
    from dazoo.shallow.steps import LinearScores, Pipeline
    from dazoo.validators.base import Evidence

    g = torch.Generator().manual_seed(0)
    centres = torch.randn(c, d, generator=g)

    def draw(rows: int, offset: float) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(c, (rows,), generator=g)
        return centres[y] + 4 * torch.randn(rows, d, generator=g) + offset * centres.mean(0), y

    (xs, ys), (xv, yv), (xt, _) = draw(n - n // 5, 0.0), draw(n // 5, 0.0), draw(n, shift)
    parts = [Labeled(x, y, torch.zeros(len(x), dtype=torch.int64)) for x, y in ((xs, ys), (xv, yv))]
    head = LinearScores(centres.T.double() / 16, -(centres**2).sum(1).double() / 32, torch.arange(c), c, "logits")
    model = Pipeline((), None, head)
    assert isinstance(model.predict(xt[:2]), Prediction)
    return Evidence(model, Seen(parts[0], Unlabeled(xt), None, c, "vector", UNSUPERVISED, parts[1]))


def write(folder: Path, rows: list[dict[str, object]], options: argparse.Namespace) -> None:
    """``validators.csv`` and ``validators.md``."""
    from dazoo.bench.execute.machine import machine, processor

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "validators.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["validator", "cost", "seconds", "cpu_seconds", "mb", "score", "within_aim"])
        for r in rows:
            score = "" if r["score"] is None else f"{r['score']:.6g}"
            out.writerow(
                [r["validator"], r["cost"], f"{r['seconds']:.2f}", f"{r['cpu_seconds']:.2f}", f"{r['mb']:.0f}", score,
                 _within(r)]
            )  # fmt: skip
    about = machine("cpu")
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    lines = [
        "# Time and memory of validators",
        "",
        f"{options.rows:,} target samples of {options.width} dimensions, {options.classes} classes, as many source "
        f"samples; one thread of {processor()} ({about['machine']['cpus']} cores); {versions}. "
        f"Made by `python -m benchmarks.validators`. Aim: below {SECONDS:.0f} s and {MEGABYTES / 1000:.0f} GB each. "
        "Seconds are by the clock; on a machine with other work, CPU seconds are what the validator itself needed, and "
        "'by CPU time' says that only these are within the aim.",
        "",
        "| validator | cost | seconds | CPU seconds | MB | within the aim |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        numbers = f"{r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {r['mb']:.0f}"
        lines.append(f"| {r['validator']} | {r['cost']} | {numbers} | {_within(r)} |")
    (folder / "validators.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _within(row: dict[str, object]) -> str:
    assert isinstance(row["seconds"], float) and isinstance(row["mb"], float)
    assert isinstance(row["cpu_seconds"], float)
    if row["mb"] >= MEGABYTES or row["cpu_seconds"] >= SECONDS:
        return "no"
    return "yes" if row["seconds"] < SECONDS else "by CPU time"


if __name__ == "__main__":
    main()
