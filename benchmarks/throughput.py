"""``python -m benchmarks.throughput``: images per second of end-to-end training, dazoo against a plain PyTorch loop.

Both train EfficientNet-Lite0 from ImageNet weights with a bottleneck and a head on the photographs of Office-Caltech10
(amazon), one thread, the same resolution, batch and optimiser, taking turns. The plain loop is what a script does: a
``Dataset`` that opens a photograph, crops and flips it with Pillow and normalises it, a ``DataLoader`` without workers,
float32 in the default memory format, batch-norm statistics of the batch. dazoo runs its own trainer with
``source_only``: cached bytes, views of whole batches, channels-last memory, freed memory kept between steps, ReLU6
without a copy of its input. dazoo's recipe keeps the backbone's batch-norm statistics fixed by default; here it does
not, so that both do the same work.

Two further recipes train **another problem** for less time, as they come: ``images_late_stages`` leaves the stem and
the first five stages as pretrained, ``images_cached_stages`` trains the last two on what the others make of each
picture once, without augmentation; what making it costs stands apart. Their accuracy beside that of ``images`` is read
from the committed records: means of the pairs and methods that all of them ran on, one seed.

Also: which share of a run evaluation and validators take, from the committed records.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.measure import Machine, one_thread
from dazoo.bench.records.store import records
from dazoo.data.domain import Domain
from dazoo.data.registry import data_root, load_domain
from dazoo.data.sets.office_caltech10 import CLASSES
from dazoo.data.task import Task
from dazoo.engine.fit import Options, fit
from dazoo.engine.recipe import Recipe
from dazoo.methods.base import create_method
from dazoo.nets.frozen import extract, image_view
from dazoo.nets.lookup import frozen_backbone, get_backbone

BACKBONE, SIDE, BATCH = "tf_efficientnet_lite0", 160, 32
CACHED = f"{BACKBONE}@5"
PROBLEMS = {
    "images": "office_caltech10_images",
    "images_late_stages": "office_caltech10_late_stages",
    "images_cached_stages": "office_caltech10_cached_stages",
}
SUITES = ("digits", "office_caltech10_features", "office_caltech10_images")


class Photographs(Dataset[tuple[Tensor, int]]):
    """Files, opened and transformed one by one."""

    def __init__(self, folder: Path):
        self.files = [(path, y) for y, name in enumerate(CLASSES) for path in sorted((folder / name).glob("*.jpg"))]
        entry = get_backbone(BACKBONE)
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (entry.mean, entry.std))
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image, ImageOps

        path, y = self.files[i]
        picture = Image.open(path).convert("RGB")
        side = round(SIDE / 0.875)
        scale = side / min(picture.size)
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
        )
        left, top = (int(self.rng.integers(0, length - SIDE + 1)) for length in picture.size)
        picture = picture.crop((left, top, left + SIDE, top + SIDE))
        if self.rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        return (x - self.mean) / self.std, y


def plain(folder: Path, steps: int) -> Callable[[], float]:
    """Seconds of ``steps`` iterations of the plain loop."""
    entry = get_backbone(BACKBONE)
    torch.manual_seed(0)
    backbone = entry.make((SIDE, SIDE, 3), pretrained=True, image_size=SIDE)
    width = int(backbone.width)  # type: ignore[arg-type]
    net = nn.Sequential(
        backbone, nn.Linear(width, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, len(CLASSES))
    ).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=1e-3)
    loader = DataLoader(Photographs(folder), BATCH, shuffle=True, drop_last=True, num_workers=0)

    def run() -> float:
        batches = iter(loader)
        began = time.process_time()
        for _ in range(steps):
            x, y = next(batches)
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.process_time() - began

    return run


def amazon(root: str | None, most: int = 0) -> Domain:
    """The photographs of amazon, or the first ``most`` of them."""
    domain = load_domain("office_caltech10", "amazon", root, features="images", image_size=round(SIDE / 0.875))
    return replace(domain, x=domain.x[:most], y=domain.y[:most]) if most and domain.y is not None else domain


def cached(domain: Domain) -> tuple[Domain, float]:
    """The rows that the first five stages make of photographs, and the pictures per second."""
    entry, shape = frozen_backbone(CACHED), tuple(domain.x.shape[1:])
    net = entry.make(shape, pretrained=True, image_size=SIDE)
    began = time.process_time()
    rows = extract(domain.x, net, image_view(entry, shape, SIDE), device=torch.device("cpu"))
    return domain.with_x(rows, test=None), len(rows) / (time.process_time() - began)


def ours(domain: Domain, steps: int, name: str = "images", backbone: str = BACKBONE) -> Callable[[], float]:
    """Seconds of ``steps`` iterations of dazoo's trainer under a recipe."""
    seen = Task("amazon->amazon", (domain,), domain).seen()
    fields = {"freeze_norm": False} if name == "images" else {}

    def recipe(n: int) -> Options:
        made = Recipe.named(name, steps=n, batch=BATCH, **fields)
        return Options(recipe=made, backbone=backbone, image_size=SIDE if backbone == BACKBONE else None)

    def run() -> float:
        seconds = []
        for n in (1, steps + 1):  # the difference is ``steps`` iterations without building the network
            began = time.process_time()
            fit(create_method("source_only"), seen, options=recipe(n))
            seconds.append(time.process_time() - began)
        return seconds[1] - seconds[0]

    return run


def compare(root: str | None, steps: int, rounds: int) -> tuple[dict[str, list[float]], float]:
    """Images per second of every round, the sides taking turns, and those of making what is cached."""
    folder = data_root(root) / "office_caltech10" / "images" / "amazon"
    domain = amazon(root)
    few, made = cached(amazon(root, 4 * BATCH))
    sides = {
        "dazoo": ours(domain, steps),
        "plain loop": plain(folder, steps),
        "dazoo, images_late_stages": ours(domain, steps, "images_late_stages"),
        "dazoo, images_cached_stages": ours(few, steps, "images_cached_stages", CACHED),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 == 0 else list(sides)[::-1]:
            speeds[name].append(steps * BATCH / sides[name]())
    return speeds, made


def accuracies(results: Path) -> list[tuple[str, float, int]]:
    """(recipe, mean accuracy at the end in percent, runs) over the pairs, methods and seeds that all recipes ran on."""
    found: dict[str, dict[Any, float]] = {}
    for name, suite in PROBLEMS.items():
        if (results / suite / "records").is_dir():
            found[name] = {
                (r["spec"]["task"], r["spec"]["method"], r["spec"]["seed"]): 100 * last["accuracy"]
                for r in records(results / suite)
                if r["status"] == "ok" and (last := r["checkpoints"][-1]["target"])
            }
    common = set.intersection(*(set(v) for v in found.values())) if found else set()
    return [(name, statistics.mean(v[k] for k in common), len(common)) for name, v in found.items() if common]


def shares(results: Path) -> list[tuple[str, int, float, float]]:
    """(suite, runs, share of evaluation in all run time, median share of a run) of the committed records."""
    rows = []
    for suite in SUITES:
        if not (results / suite / "records").is_dir():
            continue
        pairs = [(r["seconds"], r["seconds_evaluation"]) for r in records(results / suite) if "seconds_evaluation" in r]
        if pairs:
            total = sum(look for _, look in pairs) / sum(fit + look for fit, look in pairs)
            rows.append((suite, len(pairs), total, statistics.median(look / (fit + look) for fit, look in pairs)))
    return rows


def page(
    speeds: dict[str, list[float]],
    rows: list[tuple[str, int, float, float]],
    machine: Machine,
    what: Any,
    made: float = float("nan"),
    reached: Sequence[tuple[str, float, int]] = (),
) -> str:
    """The tables as Markdown."""
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    lines = ["# Throughput of end-to-end training", "", "| side | images/s (median) | rounds |", "|---|---|---|"]
    lines += [
        f"| {name} | {medians[name]:.1f} | {', '.join(f'{v:.1f}' for v in values)} |" for name, values in speeds.items()
    ]
    ratio = medians["dazoo"] / medians["plain loop"]
    lines += ["", f"dazoo does {ratio:.2f} times the images of the plain loop. {what}"]
    for name, value in medians.items():
        if "stages" in name:
            lines.append(f"{name.removeprefix('dazoo, ')} does {value / medians['dazoo']:.1f} times those of dazoo.")
    if made == made:
        lines += ["", f"Making what is cached: {made:.1f} images/s, once per picture."]
    if reached:
        lines += ["", "| recipe | accuracy (%) | runs |", "|---|---|---|"]
        lines += [f"| {name} | {value:.1f} | {n} |" for name, value, n in reached]
    lines += ["", __doc__ or "", ""]
    lines += ["| suite | runs | evaluation and validators, of all time | median of the runs |", "|---|---|---|---|"]
    lines += [f"| {suite} | {n} | {100 * total:.1f} % | {100 * each:.1f} % |" for suite, n, total, each in rows]
    versions = ", ".join(f"{k} {v}" for k, v in machine.versions.items())
    return "\n".join([*lines, "", f"CPU seconds of one thread. Machine: {machine.text}. Versions: {versions}.", ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--data-root", help="where datasets lie; by default DAZOO_DATA")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folders of records")
    parser.add_argument("--out", type=Path, default=Path("results/throughput"))
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    one_thread()
    speeds, made = compare(options.data_root, options.steps, options.rounds)
    machine = Machine.here(["torch", "timm", "pillow", "numpy"])
    what = f"{BATCH} images of {SIDE} x {SIDE} per step, {options.steps} steps per round."
    options.out.mkdir(parents=True, exist_ok=True)
    text = page(speeds, shares(options.results), machine, what, made, accuracies(options.results))
    (options.out / "throughput.md").write_text(text, encoding="utf-8")
    with (options.out / "throughput.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["side", "round", "images_per_second"])
        writer.writerows([name, i, f"{v:.4f}"] for name, values in speeds.items() for i, v in enumerate(values))
    print(text)


if __name__ == "__main__":
    main()
