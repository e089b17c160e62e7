"""MNIST and USPS as vectors of 16 x 16 pixels, in the draw of Long et al.: 2,000 and 1,800 digits.

File below the data root: ``mnist_usps/mnist_usps.npz`` with ``MNIST_x``, ``MNIST_y``, ``USPS_x`` and ``USPS_y``. Option
``kind``: ``vector`` (n, 256) float32, or ``image`` (n, 16, 16, 1) uint8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dazoo.core.archive import Archive
from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import check_choice
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("mnist", "usps")
CLASSES = tuple(str(d) for d in range(10))
WHERE = (
    "get MNIST_vs_USPS.mat of the transfer-learning benchmarks of Long et al., save its arrays as MNIST_x (2000, 256), "
    "MNIST_y, USPS_x (1800, 256) and USPS_y in mnist_usps/mnist_usps.npz below the data root"
)


def check(kind: str) -> None:
    """Refuse a kind that is none."""
    check_choice("kind", kind, ("vector", "image"))


def load(domain: str, root: Path | None, kind: str = "vector") -> Domain:
    """The digits of one collection.

    Raises:
        DazooError: the file is missing or damaged.
    """
    check(kind)
    place = (root or Path()) / "mnist_usps" / "mnist_usps.npz"
    if not place.is_file():
        raise DazooError(f"mnist_usps needs {place}, which is not there: {WHERE}")
    with Archive(place) as file:
        x, y = file[f"{domain.upper()}_x"], file[f"{domain.upper()}_y"].ravel().astype(np.int64)
    x = np.asarray(x, dtype=np.float32)
    labels = torch.from_numpy(y - y.min())
    if kind == "vector":
        return Domain(domain, torch.from_numpy(x), labels, CLASSES)
    pixels = np.round(255 * x / max(float(x.max()), 1e-8)).astype(np.uint8).reshape(len(x), 16, 16, 1)
    return Domain(domain, torch.from_numpy(pixels), labels, CLASSES, "image")


register_dataset(
    Dataset(
        name="mnist_usps",
        domains=DOMAINS,
        load=load,
        description="handwritten digits of two collections, 2,000 and 1,800 of 16 x 16 pixels",
        options={"kind": "vector"},
        needs_root=True,
        check=check,
        license="research use; Long et al. 2013, LeCun et al. 1998, Hull 1994",
        papers=(
            Paper(
                title="Transfer Feature Learning with Joint Distribution Adaptation",
                authors="Mingsheng Long, Jianmin Wang, Guiguang Ding, Jiaguang Sun, Philip S. Yu",
                year=2013,
                url="https://doi.org/10.1109/ICCV.2013.274",
                venue="IEEE International Conference on Computer Vision",
            ),
        ),
        splits=TEN_CLASSES,
        counts={"mnist": 2000, "usps": 1800},
        where=WHERE,
    )
)
