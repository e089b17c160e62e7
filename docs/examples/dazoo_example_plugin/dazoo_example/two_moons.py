"""Two interleaved half circles, turned in one domain and moved in another. (2 n, 2) vectors, two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.data.domain import Domain
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("upright", "turned", "moved")
CLASSES = ("upper", "lower")
NOISE = 0.1


def load(domain: str, root: Path | None = None, n: int = 100, degrees: float = 30.0) -> Domain:
    """``n`` points per class; every domain is drawn from a seed of its own."""
    rng = np.random.default_rng(DOMAINS.index(domain))
    angle = np.pi * rng.random((2, n))
    upper = np.stack([np.cos(angle[0]), np.sin(angle[0])], axis=1)
    lower = np.stack([1 - np.cos(angle[1]), 0.5 - np.sin(angle[1])], axis=1)
    x = np.concatenate([upper, lower]) + NOISE * rng.standard_normal((2 * n, 2))
    if domain == "turned":
        turn = np.deg2rad(degrees)
        x = x @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    if domain == "moved":
        x = x + np.array([1.5, 0.0])
    return Domain(domain, torch.from_numpy(x.astype(np.float32)), torch.arange(2).repeat_interleave(n), CLASSES)


TWO_MOONS = register_dataset(
    Dataset(
        name="two_moons",
        domains=DOMAINS,
        load=load,
        description="two half circles, turned or moved",
        options={"n": 100, "degrees": 30.0},
        license="made up, no terms",
    )
)
