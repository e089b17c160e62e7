"""Corrupted handwritten digits: one half of scikit-learn's 1,797 8x8 images clean, the other under every corruption.

The domain ``clean`` is what a source's model learns from; ``noise-1`` to ``haze-5`` hold the same other half of the
images under noise, blur, low contrast and haze in five severities (``dazoo.data.corrupt``). No image is in both halves.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dazoo.core.paper import Paper
from dazoo.data.corrupt import NAMES, corrupted, halves
from dazoo.data.domain import Domain
from dazoo.data.generic import MOST_SEED, check_choice, check_whole
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("clean", *NAMES)


def check(kind: str, data_seed: int) -> None:
    """Refuse kinds and seeds that are none."""
    check_choice("kind", kind, ("vector", "image"))
    check_whole("data_seed", data_seed, 0, MOST_SEED)


def load(domain: str, root: Path | None, kind: str = "vector", data_seed: int = 0) -> Domain:
    """One domain, as vectors (n, 64) float32 in [0, 1] or images (n, 8, 8, 1) uint8.

    Raises:
        DazooError: ``kind`` is neither ``vector`` nor ``image``.
    """
    check(kind, data_seed)
    images, labels = _raw()
    clean, rest = halves(labels, data_seed)
    rows = clean if domain == "clean" else rest
    x = images[rows] if domain == "clean" else corrupted(images[rows], domain, data_seed)
    y, classes = torch.from_numpy(labels[rows]), tuple(str(c) for c in range(10))
    if kind == "image":
        return Domain(domain, torch.from_numpy(np.rint(255 * x).astype(np.uint8)[..., None]), y, classes, "image")
    return Domain(domain, torch.from_numpy(x.reshape(len(x), -1).astype(np.float32)), y, classes)


@lru_cache(maxsize=1)
def _raw() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return data.images / 16.0, data.target.astype(np.int64)


PAPERS = (
    Paper(
        title="Optical Recognition of Handwritten Digits",
        authors="Ethem Alpaydin, Cenk Kaynak",
        year=1998,
        venue="UCI Machine Learning Repository (Data)",
        url="https://doi.org/10.24432/C50P49",
    ),
    Paper(
        title="Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
        authors="Dan Hendrycks, Thomas Dietterich",
        year=2019,
        venue="International Conference on Learning Representations",
        url="https://arxiv.org/abs/1903.12261",
    ),
)

register_dataset(
    Dataset(
        name="digits_c",
        domains=DOMAINS,
        load=load,
        description="8x8 handwritten digits, clean and under noise, blur, low contrast and haze in five severities",
        options={"kind": "vector", "data_seed": 0},
        check=check,
        license="UCI optical digits (Alpaydin and Kaynak, 1998), CC BY 4.0; shipped with scikit-learn",
        papers=PAPERS,
        pairs=tuple(("clean", name) for name in NAMES),
        splits=TEN_CLASSES,
    )
)
