"""What a step of test-time adaptation costs beside a plain loop: ``python -m benchmarks.stream_step --out DIR``.

A plain loop sends a batch forward, with batch statistics, and the entropy of its scores back to the same weights that
TENT moves; it makes no step. Both run in turns in one process, on networks with batch normalisation: the median ratio
of neighbours is what is told, since a machine that others use slows both alike. The bound is for TENT: 1.15.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dazoo.methods.base import StreamMethod, StreamState, create_method
from dazoo.nets.net import Net, NetSpec, build_net
from dazoo.nets.parts.norm_mode import batch_norms
from dazoo.ops.entropy import entropy_of_logits

BOUND = 1.15
NETS = {
    "mlp, vectors of 64, batch 256": ("mlp", (64,), "vector", 256),
    "cnn, pictures of 16 x 16 x 3, batch 64": ("cnn", (16, 16, 3), "image", 64),
    "cnn1d, series of 40 x 80, batch 64": ("cnn1d", (40, 80), "series", 64),
}
METHODS = ("bn_adapt", "tent", "sar")


def net_of(backbone: str, shape: tuple[int, ...], kind: str, method: StreamMethod) -> Net:
    spec = NetSpec(backbone, shape, kind, 10, 64, norm="batch", body_norm="batch")
    net = build_net(spec, 0, method.build)
    method.setup(net)
    moving = set(method.moves(net))
    for name, p in net.named_parameters():
        p.requires_grad_(name in moving)
    return net.eval()


def plain_of(net: Net, x: torch.Tensor) -> Callable[[], None]:
    """Forward and backward of the entropy, with batch statistics that leave no trace."""
    for layer in batch_norms(net):
        layer.training, layer.track_running_stats = True, False
    moving = [p for p in net.parameters() if p.requires_grad]

    def once() -> None:
        for p in moving:
            p.grad = None
        entropy_of_logits(net.head(net.body(x))).mean().backward()

    return once


def step_of(name: str, method: StreamMethod, net: Net, x: torch.Tensor) -> Callable[[], None]:
    moving = [p for p in net.parameters() if p.requires_grad]
    optimizer = method.optimizer(moving) if moving else None
    state = StreamState(torch.Generator().manual_seed(0), optimizer)
    return lambda: method.step(net, x, state, 0) and None


def measure(label: str, name: str, rounds: int) -> dict[str, object]:
    backbone, shape, kind, batch = NETS[label]
    x = torch.randn(
        batch, *(shape if kind != "image" else (shape[2], *shape[:2])), generator=torch.Generator().manual_seed(0)
    )
    tent, method = create_method("tent"), create_method(name)
    plain = plain_of(net_of(backbone, shape, kind, tent), x)
    step = step_of(name, method, net_of(backbone, shape, kind, method), x)
    for _ in range(5):
        plain(), step()
    ratios, spent = [], []
    for _ in range(rounds):
        before = time.process_time()
        plain()
        between = time.process_time()
        step()
        after = time.process_time()
        ratios.append((after - between) / max(between - before, 1e-9))
        spent.append(between - before)
    return {
        "network": label,
        "method": name,
        "plain_ms": round(1000 * statistics.median(spent), 3),
        "ratio": round(statistics.median(ratios), 3),
        "bound": BOUND if name == "tent" else "",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--out", type=Path, help="Write stream_step.csv and stream_step.md there.")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(label, name, chosen.rounds) for label in NETS for name in METHODS]
    for row in rows:
        print(*row.values(), sep="\t")
    if chosen.out is None:
        return
    chosen.out.mkdir(parents=True, exist_ok=True)
    with (chosen.out / "stream_step.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["# What a step of test-time adaptation costs", ""]
    lines += [
        "CPU time of a step over that of forward and backward of a plain loop, in turns on one thread: median of "
    ]
    lines[-1] += (
        f"{chosen.rounds} ratios. Made by `python -m benchmarks.stream_step`, whose page says what is measured."
    )
    lines += ["", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    (chosen.out / "stream_step.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
