"""What fitting makes of samples that stay on disk: as a method takes them, and predictions block by block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, InMemory
from dazoo.core.errors import DazooError
from dazoo.core.types import Prediction, Seen
from dazoo.methods.base import ShallowMethod
from dazoo.methods.on_disk import in_memory, on_disk, sampled
from dazoo.nets.net import part_seed

FEW = 4  # times as many samples as features: fewer are read into memory


def for_method(method: ShallowMethod, seen: Seen, seed: int, sample: int) -> tuple[Seen, list[str]]:
    """``seen`` as the method takes it, and a sentence about what it is given."""
    parts = [part for part in (seen.source, seen.target) if part is not None and len(part)]
    numbers = " + ".join(f"{len(part):,}" for part in parts)
    if any(len(part) < FEW * int(np.prod(part.x.shape[1:])) for part in parts):
        return in_memory(seen), []
    if method.on_disk == "both":
        source, target = (
            None if p is None else dataclasses.replace(p, x=_blocks(p.x)) for p in (seen.source, seen.target)
        )
        whole = dataclasses.replace(seen, source=source, target=target)  # type: ignore[arg-type]
        return whole, [f"{method.name}: the {numbers} samples stay on disk and were read block by block"]
    gen = torch.Generator().manual_seed(part_seed(seed, "sample"))
    both = method.on_disk != "target"
    made = sampled(seen, sample, gen, both)
    taken = f"{sample:,} samples of each domain" if both else f"{sample:,} source samples and the whole target"
    return made, [
        f"{method.name}: the {numbers} samples stay on disk; it was fitted on {taken} (sample= takes more, "
        "stream=False all of them)"
    ]


def _blocks(x: Any) -> Any:
    return x if isinstance(x, Blocks) or not len(x) else InMemory(x)


def predict_blocks(predict: Callable[[Tensor], Prediction], x: Blocks, out: str | Path | None = None) -> Prediction:
    """The prediction of all blocks: scores in single precision and no features, which would be as large as the samples.

    Args:
        out: a file ``.npy`` for the scores (n, C), which stay on disk too.
    """
    path = None if out is None else Path(out)
    if path is not None and path.suffix != ".npy":
        raise DazooError(f"scores go to a file of the ending .npy, not {path.name!r}")
    scores: Any = None
    rest: list[Prediction] = []
    at = 0
    for block in x.blocks():
        if block.is_floating_point() and not bool(torch.isfinite(block).all()):
            raise DazooError(f"rows {at} to {at + len(block) - 1} hold NaN or infinite values; remove or impute them")
        found = predict(block)
        if scores is None:
            shape = (len(x), found.scores.shape[1])
            scores = (
                np.empty(shape, np.float32) if path is None
                else np.lib.format.open_memmap(path, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
            )  # fmt: skip
        scores[at : at + len(block)] = found.scores.detach().cpu().numpy()
        rest.append(dataclasses.replace(found, scores=found.scores[:, :0].cpu(), features=None))
        at += len(block)
    if path is not None:
        scores.flush()
        scores = np.load(path, mmap_mode="r+")
    return dataclasses.replace(Prediction.joined(rest), scores=torch.from_numpy(scores))


def judged(seen: Seen, seed: int, sample: int) -> Seen:
    """What a validator looks at: all samples, or a sample of those on disk."""
    if not on_disk(seen):
        return seen
    return sampled(seen, sample, torch.Generator().manual_seed(part_seed(seed, "judged")))
