"""MNIST, USPS and SVHN whole: digits written by hand, scanned from envelopes, and photographed on houses.

Files below the data root, in the folder ``mnist_usps_svhn``: ``MNIST/raw/train-images-idx3-ubyte`` and its three
siblings, ``usps.bz2``, ``usps.t.bz2``, ``train_32x32.mat`` and ``test_32x32.mat``, as their authors give them.
``download: true`` fetches what is missing through torchvision, which knows the places and checks the checksums. A
domain has the official training part, and the official test part as its test part.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import check_whole
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("mnist", "usps", "svhn")
CLASSES = tuple(str(d) for d in range(10))
FOLDER = "mnist_usps_svhn"
WHERE = (
    "say download: true where the internet can be reached, or put MNIST/raw/*-ubyte, usps.bz2, usps.t.bz2, "
    f"train_32x32.mat and test_32x32.mat in the folder {FOLDER} below the data root"
)


def check(size: int, colour: bool, download: bool) -> None:
    """Refuse sizes that are none."""
    check_whole("size", size, 8, 64)


def load(domain: str, root: Path | None, size: int = 32, colour: bool = False, download: bool = False) -> Domain:
    """The digits of one collection (n, size, size, 1 or 3) uint8.

    Args:
        domain: ``mnist``, ``usps`` or ``svhn``.
        root: the data root.
        size: side of the pictures, to which all are resampled.
        colour: three channels instead of the mean of them.
        download: fetch files that are not there.

    Raises:
        DazooError: files are missing or damaged, or cannot be had.
    """
    check(size, colour, download)
    place = (root or Path()) / FOLDER
    parts = []
    for train in (True, False):
        try:
            pictures, labels = READ[domain](place, train, download)
        except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise DazooError(
                f"mnist_usps_svhn: {domain} is not whole below {place} ({str(error).splitlines()[0][:120]}); {WHERE}"
            ) from error
        y = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        parts.append((_resized(pictures, size, colour), y))
    train_part, test_part = (Domain(domain, x, y, CLASSES, "image") for x, y in parts)
    return replace(train_part, test=test_part)


def _mnist(place: Path, train: bool, download: bool) -> tuple[np.ndarray, Any]:
    from torchvision.datasets import MNIST

    found = MNIST(str(place), train=train, download=download)
    return found.data.numpy()[..., None], found.targets.numpy()


def _usps(place: Path, train: bool, download: bool) -> tuple[np.ndarray, Any]:
    from torchvision.datasets import USPS

    found = USPS(str(place), train=train, download=download)
    return np.asarray(found.data)[..., None], found.targets


def _svhn(place: Path, train: bool, download: bool) -> tuple[np.ndarray, Any]:
    from scipy.io import loadmat

    name = "train_32x32.mat" if train else "test_32x32.mat"
    if download and not (place / name).is_file():
        from torchvision.datasets import SVHN

        SVHN(str(place), split="train" if train else "test", download=True)
    found = loadmat(place / name)
    return np.ascontiguousarray(found["X"].transpose(3, 0, 1, 2)), found["y"].ravel().astype(np.int64) % 10


READ = {"mnist": _mnist, "usps": _usps, "svhn": _svhn}


def _resized(x: np.ndarray, size: int, colour: bool) -> Tensor:
    """Pictures (n, h, w, c) uint8 as (n, size, size, 1 or 3), bilinear with antialiasing, a block at a time."""
    made = []
    for rows in np.array_split(x, max(1, len(x) // 2000)):
        pictures = torch.from_numpy(np.ascontiguousarray(rows)).permute(0, 3, 1, 2).float()
        pictures = pictures if colour else pictures.mean(1, keepdim=True)
        if pictures.shape[2:] != (size, size):
            pictures = torch.nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
        pictures = pictures.expand(-1, 3 if colour else 1, -1, -1)
        made.append(pictures.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous())
    return torch.cat(made)


register_dataset(
    Dataset(
        name="mnist_usps_svhn",
        domains=DOMAINS,
        load=load,
        description="digits written, scanned and photographed, the whole of MNIST, USPS and SVHN",
        options={"size": 32, "colour": False, "download": False},
        needs_root=True,
        check=check,
        license="MNIST CC BY-SA 3.0 (LeCun, Cortes); USPS research use (Hull); SVHN non-commercial (Netzer et al.)",
        papers=(
            Paper(
                title="Gradient-Based Learning Applied to Document Recognition",
                authors="Yann LeCun, Léon Bottou, Yoshua Bengio, Patrick Haffner",
                year=1998,
                url="https://doi.org/10.1109/5.726791",
                venue="Proceedings of the IEEE (Journal)",
            ),
            Paper(
                title="A Database for Handwritten Text Recognition Research",
                authors="Jonathan J. Hull",
                year=1994,
                url="https://doi.org/10.1109/34.291440",
                venue="IEEE Transactions on Pattern Analysis and Machine Intelligence (Journal)",
            ),
            Paper(
                title="Reading Digits in Natural Images with Unsupervised Feature Learning",
                authors="Yuval Netzer, Tao Wang, Adam Coates, Alessandro Bissacco, Bo Wu, Andrew Y. Ng",
                year=2011,
                url="http://ufldl.stanford.edu/housenumbers/nips2011_housenumbers.pdf",
                venue="NIPS Workshop on Deep Learning and Unsupervised Feature Learning",
            ),
        ),
        splits=TEN_CLASSES,
        counts={"mnist": 60_000, "usps": 7291, "svhn": 73_257},
        where=WHERE,
    )
)
