"""``python -m benchmarks.compiled``: what compilers and fused layers save on a CPU, and what they cost first.

One thread, everything in turns within one process, CPU seconds (a compiler's own processes counted), medians of rounds:

- a training step from pictures: EfficientNet-Lite0 at 160, batch 32, channels-last as dazoo trains it, with its
  classifier and SGD; as it is, and under ``torch.compile`` (inductor), which is the recipe field ``compile``;
- the stages that ``images_late_stages`` holds, forwards without gradients: as they are, with every batch normalisation
  folded into its convolution (``fuse_conv_bn_eval``; exact in evaluation mode, to rounding), and frozen by
  ``torch.jit`` with oneDNN's own layout;
- a step of a tiny perceptron (1,280 -> 64 -> 10, batch 32, Adam), as it is and compiled.

*pays after* is how many steps of 32 it takes until what was spent before the first step is won back. What has no row
was not measured.
"""

from __future__ import annotations

import argparse
import csv
import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peers.measure import Machine, one_thread
from dazoo.nets.fold import folded
from dazoo.nets.lookup import get_backbone
from dazoo.nets.stages import held

BACKBONE, SIDE, BATCH, HELD = "tf_efficientnet_lite0", 160, 32, 5
Step = Callable[[], Tensor]


def spent() -> float:
    """CPU seconds of this process and of those it waited for."""
    mine, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + others.ru_utime + others.ru_stime


@dataclass(frozen=True)
class Row:
    """One way of one thing: seconds before its first usual step, milliseconds of a step, and how far the outcome of
    the first step is from that of the first way, relative to its largest entry."""

    what: str
    way: str
    before: float
    each: float
    apart: float


def backbone() -> nn.Module:
    body = get_backbone(BACKBONE).make((SIDE, SIDE, 3), pretrained=False, image_size=SIDE)
    return body.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def pictures() -> Tensor:
    gen = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, 3, SIDE, SIDE, generator=gen).to(memory_format=torch.channels_last)


def stepping(
    answer: Callable[[], Tensor], y: Tensor, parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer
) -> Step:
    """A step of the cross-entropy of the scores (b, C) that ``answer`` gives with labels y (b,); returns the scores."""

    def step() -> Tensor:
        scores = answer()
        loss = nn.functional.cross_entropy(scores, y)
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters)):
            p.grad = g
        optimizer.step()
        return scores.detach()

    return step


def training(way: str) -> Step:
    """One SGD step of the whole network; returns the scores."""
    torch.manual_seed(0)
    body = backbone()
    head = nn.Linear(int(body.width), 10)  # type: ignore[call-overload]
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, fused=True)
    x, y = pictures(), torch.arange(BATCH) % 10
    if way != "as it is":
        body.compile(backend="inductor")

    return stepping(lambda: head(body(x)), y, parameters, optimizer)


def early(way: str) -> Step:
    """The held stages forwards; returns what they make of the pictures."""
    torch.manual_seed(0)
    body = backbone().eval()
    modules = [body.get_submodule(name) for name in held(body, HELD)]
    net = nn.Sequential(*modules).eval().requires_grad_(False)
    x = pictures()
    if way != "as it is":
        net = folded(net)
    if way == "folded, torch.jit and oneDNN":
        with torch.no_grad():
            net = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(net, x, check_trace=False)))

    def step() -> Tensor:
        with torch.no_grad():
            found: Tensor = net(x)
        return found

    return step


def tiny(way: str) -> Step:
    """One Adam step of a perceptron; returns the scores."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1280, 64), nn.ReLU(), nn.Linear(64, 10))
    parameters = list(net.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    x, y = torch.randn(BATCH, 1280), torch.arange(BATCH) % 10
    if way != "as it is":
        net.compile(backend="inductor")

    return stepping(lambda: net(x), y, parameters, optimizer)


CASES: dict[str, tuple[Callable[[str], Step], tuple[str, ...], int]] = {
    "a tiny perceptron, step": (tiny, ("as it is", "torch.compile"), 200),
    "held stages, forwards": (early, ("as it is", "folded", "folded, torch.jit and oneDNN"), 1),
    "EfficientNet-Lite0, step": (training, ("as it is", "torch.compile"), 1),
}


def measure(what: str, rounds: int) -> list[Row]:
    make, ways, each = CASES[what]
    steps, before, first = [], [], []
    for way in ways:
        began = spent()
        steps.append(make(way))
        first.append(steps[-1]())
        steps[-1]()  # shapes are known, profiles are made
        before.append(spent() - began)
    times: list[list[float]] = [[] for _ in ways]
    for i in range(rounds):
        for k in range(len(ways))[:: 1 if i % 2 else -1]:
            began = spent()
            for _ in range(each):
                steps[k]()
            times[k].append((spent() - began) / each)
    return [
        Row(what, way, b, statistics.median(t), float((f - first[0]).abs().max() / first[0].abs().max()))
        for way, b, t, f in zip(ways, before, times, first)
    ]


def page(rows: list[Row], rounds: int, machine: Machine) -> str:
    lines = ["# Compilers and fused layers on a CPU", "", (__doc__ or "").split("\n", 1)[1].strip(), ""]
    lines += ["| what | way | before (s) | ms per step | speed | pays after | apart by |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        base = next(r for r in rows if r.what == row.what)
        won, extra = base.each - row.each, row.before - base.before
        pays = "-" if row is base else f"{max(0, extra) / won:,.0f} steps" if won > 0 else "never"
        lines.append(
            f"| {row.what} | {row.way} | {row.before:.1f} | {1000 * row.each:.2f} | {base.each / row.each:.2f} "
            f"| {pays} | {row.apart:.0e} |"
        )
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    made = "Made by `python -m benchmarks.compiled`."
    lines += ["", f"{rounds} rounds. Machine: {machine.text}. Versions: {versions}. {made}"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compiled", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("results/compiled"))
    options = parser.parse_args(arguments)
    one_thread()
    rows = [row for what in options.only for row in measure(what, options.rounds)]
    options.out.mkdir(parents=True, exist_ok=True)
    text = page(rows, options.rounds, Machine.here(["torch", "timm"]))
    (options.out / "compiled.md").write_text(text)
    with (options.out / "compiled.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("what", "way", "before_seconds", "ms_per_step", "apart"))
        writer.writerows((r.what, r.way, f"{r.before:.3f}", f"{1000 * r.each:.4f}", f"{r.apart:.2e}") for r in rows)
    print(text)


if __name__ == "__main__":
    main()
