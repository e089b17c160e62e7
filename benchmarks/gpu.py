"""``python -m benchmarks.gpu``: what a GPU brings; without one it says that nothing was measured.

- 64 small runs of DANN (seeds and weights differ) as one stacked group against the same runs one at a time;
- DANN end to end from pictures: dazoo's trainer (channels-last, bf16 inside the parts, with and without
  ``torch.compile`` of the backbone, and in float32) against a plain float32 loop and the loop of TLLib's example
  rewritten (``gpu_loops``), with peak memory of each; what a step costs is the difference between a long and a short
  run, so that neither building the network nor compiling it counts;
- linear algebra and Sinkhorn on the device against the CPU: seconds, and the largest relative difference.

``--dry`` tries all of it at tiny sizes on the CPU, prints the page and writes nothing. It is made for less than six
minutes of a GPU; what fails there is named in its row, and the others are measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.gpu_loops import make_photographs, plain_loop, tllib_loop
from dazoo.core.setting import UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.engine.fit import Options, fit, fit_group
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import GradientMethod, create_method
from dazoo.ops import transport

NOTHING = "not measured: no CUDA device here"


@dataclass(frozen=True)
class Sizes:
    """How much is measured: runs of a group and their steps; network, side, batch and steps (short, long) of training
    from pictures, worker processes of TLLib's loop; rows of the linear algebra."""

    runs: int = 64
    group_steps: int = 300
    backbone: str = "resnet50"
    side: int = 224
    batch: int = 32
    steps: tuple[int, int] = (5, 45)
    compiler: str = "inductor"
    workers: int = 2
    rows: int = 2000


DRY = Sizes(runs=3, group_steps=2, backbone="cnn", side=16, batch=4, steps=(1, 2), compiler="eager", workers=0, rows=40)


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


def stacked(device: str, sizes: Sizes) -> tuple[float, float]:
    """Seconds of small runs as one group and one at a time."""
    seen, recipe = samples(512, (64,)), Recipe.named("digits", steps=sizes.group_steps)
    methods = [cast(GradientMethod, create_method("dann", trade_off=0.1 + 0.01 * i)) for i in range(sizes.runs)]
    options = Options(recipe=recipe, device=device)
    fit(methods[0], seen, options=options)
    group = seconds(lambda: fit_group(methods, seen, seeds=range(sizes.runs), options=options), device)
    single = seconds(lambda: [fit(m, seen, seed=i, options=options) for i, m in enumerate(methods)], device)
    return group, single


def trainer(device: str, sizes: Sizes, **fields: Any) -> Callable[[int], None]:
    """dazoo's own training for so many steps, under a recipe with some fields changed."""
    seen = samples(4 * sizes.batch, (sizes.side, sizes.side, 3), pictures=True)

    def run(steps: int) -> None:
        recipe = Recipe.named("images", steps=steps, batch=sizes.batch, freeze_norm=False, **fields)
        options = Options(
            recipe=recipe, backbone=sizes.backbone, pretrained=False, image_size=sizes.side, device=device
        )
        fit(create_method("dann"), seen, options=options)

    return run


def end_to_end(device: str, sizes: Sizes, folder: Path) -> list[tuple[str, float, float, str]]:
    """(how, images per second, peak megabytes of the device, what went wrong) of every way to train from pictures."""
    short, long = sizes.steps
    make_photographs(folder, 4 * sizes.batch)
    loop = (sizes.backbone, sizes.side, sizes.batch, device)
    bf16 = {"precision": "bf16", "channels_last": True}
    ways: dict[str, Callable[[], Callable[[int], None]]] = {
        "plain loop: float32, pictures on the device": lambda: plain_loop(*loop),
        "TLLib's loop: float32, files and two workers": lambda: tllib_loop(*loop, folder, sizes.workers),
        "dazoo: float32, default memory format": lambda: trainer(device, sizes, channels_last=False),
        "dazoo: float32, channels-last": lambda: trainer(device, sizes),
        "dazoo: bf16 inside the parts, channels-last": lambda: trainer(device, sizes, **bf16),
        "dazoo: the same, compiled": lambda: trainer(device, sizes, **bf16, compile=sizes.compiler),
    }
    rows = []
    for name, make in ways.items():
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            run = make()
            run(short)
            some, more = (seconds(partial(run, n), device) for n in (short, long))
        except Exception as error:  # one way that does not run must not cost the others
            rows.append(
                (name, float("nan"), float("nan"), f"{type(error).__name__}: {str(error).splitlines()[0][:120]}")
            )
            continue
        peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else float("nan")
        rows.append((name, 2 * sizes.batch * (long - short) / max(more - some, 1e-9), peak, ""))
    return rows


def differences(device: str, n: int) -> list[tuple[str, float, float, float]]:
    """(what, seconds on the CPU, seconds on the device, largest relative difference) in float64."""
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(n, 32, generator=gen, dtype=torch.float64)
    wide = torch.randn(n, n, generator=gen, dtype=torch.float64)
    a = wide @ wide.T / n + torch.eye(n, dtype=torch.float64)
    cost = torch.cdist(x, x + 1).square()
    cases: dict[str, Callable[[str], Tensor]] = {
        "covariance": lambda d: torch.cov(wide.to(d).T),
        "eigenvalues": lambda d: torch.linalg.eigvalsh(a.to(d)),
        "solution of a linear system": lambda d: torch.linalg.solve(a.to(d), x.to(d)),
        "Sinkhorn plan": lambda d: transport.sinkhorn_plan(cost.to(d), 0.1),
    }
    found = []
    for name, case in cases.items():
        here, there = case("cpu"), case(device).cpu()  # the first call of a kind also loads what it needs
        took = [seconds(partial(case, d), device) for d in ("cpu", device)]
        found.append((name, *took, float((here - there).abs().max() / here.abs().max())))
    return found


def page(device: str, sizes: Sizes) -> str:
    """All measurements as Markdown."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    began = time.perf_counter()
    group, single = stacked(device, sizes)
    lines = ["# On a device", "", f"Device: {name}, torch {torch.__version__}.", ""]
    lines += ["| runs | s as one group | s one at a time | times the throughput |", "|---|---|---|---|"]
    lines += [f"| {sizes.runs} | {group:.2f} | {single:.2f} | {single / group:.1f} |", ""]
    lines += [f"DANN from pictures: {sizes.backbone} at {sizes.side}, {sizes.batch} pictures of either domain.", ""]
    lines += ["| end to end | images/s | times the plain loop | peak MB |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        ways = end_to_end(device, sizes, Path(folder))
    for how, speed, peak, wrong in ways:
        lines.append(
            f"| {how} | {wrong} | | |" if wrong else f"| {how} | {speed:.1f} | {speed / ways[0][1]:.2f} | {peak:.0f} |"
        )
    lines += ["", "| on the device | s on the CPU | s | largest relative difference |", "|---|---|---|---|"]
    rows = differences(device, sizes.rows)
    lines += [f"| {what} | {cpu:.4f} | {there:.4f} | {value:.1e} |" for what, cpu, there, value in rows]
    lines += ["", f"Measured in {time.perf_counter() - began:.0f} s."]
    return "\n".join([*lines, "", __doc__ or ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/gpu"))
    parser.add_argument("--dry", action="store_true", help="try everything at tiny sizes on the CPU, and write nothing")
    options = parser.parse_args(arguments)
    if options.dry:
        print(page("cpu", DRY))
        return
    text = page("cuda", Sizes()) if torch.cuda.is_available() else f"# On a device\n\n{NOTHING}\n\n{__doc__ or ''}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
