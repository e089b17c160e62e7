"""``python -m benchmarks.gpu``: what a GPU brings; without one it says that nothing was measured.

- 64 small runs of DANN (seeds and weights differ) as one stacked group against the same runs one at a time;
- end to end from pictures: dazoo's trainer (channels-last, bf16 inside the parts) against the same in float32 with the
  default memory format, and peak memory of each;
- linear algebra and Sinkhorn on the device against the CPU, largest relative difference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import GradientMethod, create_method
from dazoo.ops import transport

NOTHING = "not measured: no CUDA device here"


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall-clock seconds of a call, with the device's queue empty before and after."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def samples(n: int, shape: tuple[int, ...], pictures: bool = False) -> Seen:
    """Random samples of ten classes; their content does not change what a step costs."""
    gen = torch.Generator().manual_seed(0)
    if pictures:
        xs, xt = (torch.randint(0, 256, (n, *shape), generator=gen, dtype=torch.uint8) for _ in range(2))
    else:
        xs, xt = (torch.randn(n, *shape, generator=gen) for _ in range(2))
    y, kind = torch.arange(n) % 10, "image" if pictures else "vector"
    return Seen(Labeled(xs, y, torch.zeros(n, dtype=torch.int64)), Unlabeled(xt), None, 10, kind, UNSUPERVISED)


def stacked(device: str, runs: int, steps: int) -> tuple[float, float]:
    """Seconds of ``runs`` small runs as one group and one at a time."""
    seen, recipe = samples(512, (64,)), Recipe.named("digits", steps=steps)
    methods = [cast(GradientMethod, create_method("dann", trade_off=0.1 + 0.01 * i)) for i in range(runs)]
    options = Options(recipe=recipe, device=device)
    fit(methods[0], seen, options=options)
    group = seconds(lambda: fit_group(methods, seen, seeds=range(runs), options=options), device)
    single = seconds(lambda: [fit(m, seen, seed=i, options=options) for i, m in enumerate(methods)], device)
    return group, single


def end_to_end(device: str, backbone: str, side: int, batch: int, steps: int) -> list[tuple[str, float, float]]:
    """(how, images per second, peak megabytes of the device) for the plain way and dazoo's."""
    seen, rows = samples(4 * batch, (side, side, 3), pictures=True), []
    ways = {"float32, default memory format": ("fp32", False), "channels-last, float32": ("fp32", True),
            "channels-last, bf16 inside the parts": ("bf16", True)}  # fmt: skip
    for name, (precision, last) in ways.items():
        recipe = Recipe.named("images", steps=steps, batch=batch, precision=precision, channels_last=last)
        options = Options(recipe=recipe, backbone=backbone, pretrained=False, image_size=side, device=device)
        fit(create_method("dann"), seen, options=options)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        took = seconds(lambda options=options: fit(create_method("dann"), seen, options=options), device)
        peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else float("nan")
        rows.append((name, 2 * batch * steps / took, peak))
    return rows


def differences(device: str, n: int) -> list[tuple[str, float]]:
    """Largest relative differences between the device and the CPU, in float64."""
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(n, 32, generator=gen, dtype=torch.float64)
    a = x.T @ x / n + torch.eye(32, dtype=torch.float64)
    cost = torch.cdist(x, x + 1).square()
    cases: dict[str, Callable[[str], Tensor]] = {
        "covariance": lambda d: torch.cov(x.to(d).T),
        "eigenvalues": lambda d: torch.linalg.eigvalsh(a.to(d)),
        "solution of a linear system": lambda d: torch.linalg.solve(a.to(d), x.to(d).T),
        "Sinkhorn plan": lambda d: transport.sinkhorn_plan(cost.to(d), 0.1),
    }
    found = []
    for name, case in cases.items():
        here, there = case("cpu"), case(device).cpu()
        found.append((name, float((here - there).abs().max() / here.abs().max())))
    return found


def page(device: str, runs: int, steps: int, backbone: str, side: int, batch: int, n: int) -> str:
    """All measurements as Markdown."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    group, single = stacked(device, runs, steps)
    lines = ["# On a device", "", f"Device: {name}, torch {torch.__version__}.", ""]
    lines += ["| runs | s as one group | s one at a time | times the throughput |", "|---|---|---|---|"]
    lines += [f"| {runs} | {group:.2f} | {single:.2f} | {single / group:.1f} |", ""]
    lines += ["| end to end | images/s | peak MB |", "|---|---|---|"]
    lines += [
        f"| {how} | {speed:.1f} | {peak:.0f} |" for how, speed, peak in end_to_end(device, backbone, side, batch, steps)
    ]
    lines += ["", "| device against CPU | largest relative difference |", "|---|---|"]
    lines += [f"| {what} | {value:.1e} |" for what, value in differences(device, n)]
    return "\n".join([*lines, "", __doc__ or ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    options = parser.parse_args(arguments)
    if torch.cuda.is_available():
        text = page("cuda", 64, 300, "resnet50", 224, 64, 1000)
    else:
        text = "\n".join(["# On a device", "", NOTHING, "", __doc__ or ""])
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
