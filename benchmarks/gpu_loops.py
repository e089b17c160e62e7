"""What ``benchmarks.gpu`` compares end-to-end training with: a plain loop, and the loop of TLLib's DANN rewritten.

Both train DANN: cross-entropy of the source and a discriminator behind gradient reversal, in float32 and the default
memory format. The plain loop has its pictures in memory, already as tensors on the device: nothing but the step. The
other one does what Transfer-Learning-Library's example does: files opened and transformed by two workers, batches moved
one by one, a reversal whose strength warms up, three accuracies per step, read from the device at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dazoo.nets.lookup import get_backbone
from dazoo.ops.reversal import reverse_gradient

CLASSES, WIDTH = 10, 256


class Network(nn.Module):
    """Backbone, bottleneck and head, and a discriminator of two hidden layers."""

    def __init__(self, backbone: str, side: int):
        super().__init__()
        self.backbone = get_backbone(backbone).make((side, side, 3), image_size=side)
        raw = int(self.backbone.width)  # type: ignore[arg-type]
        self.bottleneck = nn.Sequential(nn.Linear(raw, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, CLASSES)
        layers: list[nn.Module] = []
        for width in (WIDTH, 1024):
            layers += [nn.Linear(width, 1024), nn.BatchNorm1d(1024), nn.ReLU()]
        self.disc = nn.Sequential(*layers, nn.Linear(1024, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.bottleneck(self.backbone(x))
        return self.head(f), f

    def optimizer(self) -> torch.optim.Optimizer:
        rest = [p for n, p in self.named_parameters() if not n.startswith("backbone.")]
        groups = [{"params": self.backbone.parameters(), "lr": 1e-3}, {"params": rest}]
        return torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)


def adversarial(disc: nn.Module, fs: Tensor, ft: Tensor, strength: float) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the domains in one forward pass, and the discriminator's answers for either."""
    d = disc(reverse_gradient(torch.cat([fs, ft]), strength))
    ds, dt = d.split([len(fs), len(ft)])
    loss = F.binary_cross_entropy(ds, torch.ones_like(ds)) + F.binary_cross_entropy(dt, torch.zeros_like(dt))
    return 0.5 * loss, ds, dt


def plain_loop(backbone: str, side: int, batch: int, device: str) -> Callable[[int], None]:
    """Trains for so many steps on pictures that lie on the device."""
    torch.manual_seed(0)
    net = Network(backbone, side).to(device).train()
    optimizer = net.optimizer()
    xs, xt = (torch.randn(2 * batch, 3, side, side, device=device) for _ in range(2))
    y = torch.arange(2 * batch, device=device) % CLASSES

    def run(steps: int) -> None:
        for i in range(steps):
            rows = slice(batch * (i % 2), batch * (i % 2 + 1))
            scores, f = net(torch.cat([xs[rows], xt[rows]]))
            loss = F.cross_entropy(scores[:batch], y[rows]) + adversarial(net.disc, f[:batch], f[batch:], 1.0)[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


class Files(Dataset[tuple[Tensor, int]]):
    """Photographs from files: squashed to a square, a crop of random place and size, mirrored, normalised."""

    def __init__(self, folder: Path, side: int):
        self.files, self.side = sorted(folder.glob("*.jpg")), side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image, ImageOps

        whole = round(self.side / 0.875)
        picture = Image.open(self.files[i]).convert("RGB").resize((whole, whole), Image.Resampling.BILINEAR)
        draw = torch.rand(5).tolist()
        area, ratio = whole**2 * (0.08 + 0.92 * draw[0]), math.exp((2 * draw[1] - 1) * math.log(4 / 3))
        wide, high = (min(whole, max(1, round(math.sqrt(v)))) for v in (area * ratio, area / ratio))
        left, top = int(draw[2] * (whole - wide + 1)), int(draw[3] * (whole - high + 1))
        picture = picture.resize(
            (self.side, self.side), Image.Resampling.BILINEAR, (left, top, left + wide, top + high)
        )
        if draw[4] < 0.5:
            picture = ImageOps.mirror(picture)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (x - mean[:, None, None]) / std[:, None, None], i % CLASSES


def make_photographs(folder: Path, n: int, side: int = 300) -> None:
    """``n`` JPEG files of smooth random colours."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.jpg")


def forever(loader: DataLoader[Any], device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end, moved to the device one after the other."""
    while True:
        for x, y in loader:
            yield x.to(device), y.to(device)


def rate_right(scores: Tensor, y: Tensor) -> float:
    """Percent of the rows labelled rightly, as a number of Python's."""
    return float((scores.argmax(1) == y).float().mean().item() * 100)


def tllib_loop(
    backbone: str, side: int, batch: int, device: str, folder: Path, workers: int = 2
) -> Callable[[int], None]:
    """Trains for so many steps as Transfer-Learning-Library's example of DANN does."""
    torch.manual_seed(0)
    net = Network(backbone, side).to(device).train()
    optimizer = net.optimizer()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (1 + 0.001 * i) ** -0.75)
    keep = {"persistent_workers": True} if workers else {}
    loaders = [
        DataLoader(Files(folder, side), batch, shuffle=True, drop_last=True, num_workers=workers, **keep)
        for _ in range(2)
    ]
    source, target = (forever(loader, device) for loader in loaders)
    meters: dict[str, list[float]] = {name: [] for name in ("loss", "cls_acc", "domain_acc", "tgt_acc")}
    seen = 0

    def run(steps: int) -> None:
        nonlocal seen
        for _ in range(steps):
            (x_s, y_s), (x_t, y_t) = next(source), next(target)
            scores, f = net(torch.cat([x_s, x_t]))
            (s, t), (f_s, f_t) = scores.chunk(2), f.chunk(2)
            strength = 2 / (1 + math.exp(-seen / 1000)) - 1
            transfer, d_s, d_t = adversarial(net.disc, f_s, f_t, strength)
            loss = F.cross_entropy(s, y_s) + transfer
            meters["loss"].append(loss.item())
            meters["cls_acc"].append(rate_right(s, y_s))
            meters["tgt_acc"].append(rate_right(t, y_t))
            meters["domain_acc"].append(50 * ((d_s > 0.5).float().mean() + (d_t < 0.5).float().mean()).item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            seen += 1

    return run
