"""Corrupted Office-Caltech10: photographs of ten object classes, one half of every domain clean, the other corrupted.

Domains: ``amazon``, ``caltech10``, ``dslr``, ``webcam`` hold one half of the photographs as they are;
``webcam-noise-3`` and its like hold the other half under noise, blur, low contrast or haze in one of five severities
(``dazoo.data.corrupt``). No photograph is in both halves. Files as for ``office_caltech10``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.core.paper import Paper
from dazoo.data.corrupt import NAMES, corrupted, halves
from dazoo.data.domain import Domain
from dazoo.data.generic import MOST_SEED, check_whole
from dazoo.data.images import check_view
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, load_domain, register_dataset

CLEAN = ("amazon", "caltech10", "dslr", "webcam")
DOMAINS = (*CLEAN, *(f"{domain}-{name}" for domain in CLEAN for name in NAMES))
PIECE = 32
"""Photographs that are corrupted at once."""


def check(image_size: int, fit: str, data_seed: int) -> None:
    """Refuse sizes and seeds that are none."""
    check_view(image_size, fit)
    check_whole("data_seed", data_seed, 0, MOST_SEED)


def load(domain: str, root: Path | None, image_size: int = 224, fit: str = "crop", data_seed: int = 0) -> Domain:
    """One domain, as photographs (n, image_size, image_size, 3) uint8.

    Raises:
        DazooError: the files are missing or damaged, or an option has no such value.
    """
    check(image_size, fit, data_seed)
    place, _, name = domain.partition("-")
    whole = load_domain("office_caltech10", place, root, features="images", image_size=image_size, fit=fit)
    assert whole.y is not None
    clean, rest = halves(whole.y.numpy(), data_seed)
    rows = torch.from_numpy(rest if name else clean)
    x, y = whole.x[rows], whole.y[rows]
    if name:
        pieces = [
            np.rint(255 * corrupted(piece.numpy().astype(np.float32) / 255, name, data_seed, i)).astype(np.uint8)
            for i, piece in enumerate(x.split(PIECE))
        ]
        x = torch.from_numpy(np.concatenate(pieces))
    return Domain(domain, x, y, whole.classes, "image")


PAPERS = (
    Paper(
        title="Geodesic Flow Kernel for Unsupervised Domain Adaptation",
        authors="Boqing Gong, Yuan Shi, Fei Sha, Kristen Grauman",
        year=2012,
        url="https://doi.org/10.1109/CVPR.2012.6247911",
        venue="IEEE Conference on Computer Vision and Pattern Recognition",
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
        name="office_caltech10_c",
        domains=DOMAINS,
        load=load,
        description="photographs of ten object classes, clean or under noise, blur, low contrast or haze",
        options={"image_size": 224, "fit": "crop", "data_seed": 0},
        needs_root=True,
        check=check,
        license="research use; Gong et al. 2012, Saenko et al. 2010, Griffin et al. 2007",
        papers=PAPERS,
        pairs=tuple((d, f"{d}-{name}") for d in CLEAN for name in NAMES),
        splits=TEN_CLASSES,
    )
)
