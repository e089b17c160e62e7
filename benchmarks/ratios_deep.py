"""Gradient methods of this checkout against those of another: ``python -m benchmarks.ratios_deep --before CHECKOUT``.

Two processes, one for each checkout, train every method in turns on one pair of Office-Caltech10 (frozen features,
recipe ``frozen``, one seed, one thread), so that whatever else the machine does meets both. CPU seconds are the least
of some rounds; beside their ratio stands how far losses and predicted labels are apart.
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
from typing import Any

HEADER = ("what", "before_cpu_seconds", "now_cpu_seconds", "ratio", "losses_differ", "labels_differ")
PAIR = ("amazon", "caltech10")


class Side:
    """A process that trains methods of one checkout when asked."""

    def __init__(self, checkout: Path, steps: int):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", "--steps", str(steps)],
            env={**os.environ, **threads, "PYTHONPATH": str(checkout)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def __call__(self, name: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work(steps: int) -> None:
    """Train the methods that are named on the input, and answer with seconds, losses and labels."""
    import torch

    from dazoo.core.memo import Memo
    from dazoo.data.registry import load_domain
    from dazoo.data.task import Task
    from dazoo.engine.fit import fit
    from dazoo.engine.outcome import Options
    from dazoo.engine.recipe import Recipe
    from dazoo.methods.base import create_method
    from dazoo.nets.frozen import frozen

    torch.set_num_threads(1)
    source, target = (
        frozen(load_domain("office_caltech10", d, None, features="images"), "tf_efficientnet_lite0") for d in PAIR
    )
    seen = Task("->".join(PAIR), (source,), target, source_holdout=0.2, seed=0).seen()
    options, memo = Options(recipe=Recipe.named("frozen", steps=steps, few_steps=steps)), Memo()
    known: set[str] = set()
    for line in sys.stdin:
        name = line.strip()
        try:
            method = create_method(name)
            if name not in known:  # what a method starts from, and what is loaded late
                short = Options(recipe=Recipe.named("frozen", steps=2, few_steps=2))
                fit(method, seen, options=short)
                if getattr(method, "start", None):
                    fit(method, seen, options=options, memo=memo)
                known.add(name)
            before = time.process_time()
            result = fit(method, seen, options=options, memo=memo)
            seconds = time.process_time() - before
            labels = result.predictor.predict(seen.target.x).labels.tolist()
            answer = {"seconds": seconds, "labels": labels, "curves": result.curves}
        except Exception as error:
            answer = {"error": str(error)[:120]}
        print(json.dumps(answer), flush=True)


def compared(name: str, before: Side, now: Side, rounds: int) -> dict[str, str]:
    """The row of a method, least seconds of the rounds; or what it says where it cannot be trained so."""
    taken: list[list[float]] = [[], []]
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 else (1, 0):
            answer = (before, now)[side](name)
            if "error" in answer:
                return {"what": name, "error": answer["error"]}
            taken[side].append(answer["seconds"])
            old, new = (answer, new) if side == 0 else (old, answer)
    worst = 0.0
    for term, points in old["curves"].items():
        scale = max(1e-3, *(abs(v) for _, v in points))
        other = new["curves"].get(term, [])
        worst = max([worst, *(abs(a[1] - b[1]) / scale for a, b in zip(points, other))])
    apart = sum(a != b for a, b in zip(old["labels"], new["labels"])) / len(old["labels"])
    long, short = (min(t) for t in taken)
    values = (name, f"{long:.2f}", f"{short:.2f}", f"{long / short:.2f}", f"{worst:.0e}", f"{100 * apart:.2f} %")
    return dict(zip(HEADER, values))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ratios_deep", description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of this project")
    parser.add_argument("--out", type=Path, default=Path("results/ratios"))
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options.steps)
        return
    if options.before is None:
        parser.error("--before is needed: a checkout of the revision to compare with")
    sides = [Side(p.resolve(), options.steps) for p in (options.before, Path(__file__).parents[1])]
    for name in options.only or _gradient_methods():
        row = compared(name, *sides, options.rounds)
        print(*row.values(), file=sys.stderr, flush=True)
        if "error" not in row:
            _write([row], options)  # what is measured survives an interruption
    for side in sides:
        side.end()


def _gradient_methods() -> list[str]:
    """The gradient methods of the features suite, as it lists them."""
    from dazoo.bench.plan.shipped import find_suite
    from dazoo.bench.plan.suite import Suite
    from dazoo.methods.base import METHODS, GradientMethod

    listed = dict.fromkeys(m.name for m in Suite.load(find_suite("office_caltech10_features")).methods)
    return [n for n in listed if issubclass(METHODS.get(n), GradientMethod)]


def _write(rows: list[dict[str, str]], options: argparse.Namespace) -> None:
    """``deep.csv`` and ``deep.md``; rows that were not measured now stay as they are."""
    from benchmarks.peers.measure import Machine

    path = options.out / "deep.csv"
    options.out.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, str]] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            known = {r["what"]: r for r in csv.DictReader(file)}
    known.update((r["what"], r) for r in rows)
    ranked = sorted(known.values(), key=lambda r: -float(r["ratio"]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(ranked)
    here = Machine.here(("numpy", "scipy", "torch", "POT"))
    long, short = (sum(float(r[k]) for r in ranked) for k in HEADER[1:3])
    revision = subprocess.run(
        ["git", "-C", str(options.before), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    text = [
        "# Gradient methods before and after", "",
        f"Before is revision {revision}. CPU seconds of {options.steps} steps on {'->'.join(PAIR)} of Office-Caltech10 "
        "(frozen features, recipe `frozen`, one seed, one thread), the least of "
        f"{options.rounds} rounds in turns; losses differ by the largest difference of a curve relative to the curve's "
        f"largest value. All together {long:.1f} before, {short:.1f} now.",
        "", "| what | before | now | ratio | losses differ by | labels differ |", "|---|---|---|---|---|---|",
        *(f"| {' | '.join(r[k] for k in HEADER)} |" for r in ranked), "",
        f"Machine: {here.text}, load {os.getloadavg()[0]:.0f}. "
        f"Versions: {', '.join(f'{k} {v}' for k, v in here.versions.items())}.", "",
        "Made by `python -m benchmarks.ratios_deep`.", "",
    ]  # fmt: skip
    (options.out / "deep.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
