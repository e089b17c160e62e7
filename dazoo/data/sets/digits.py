"""Handwritten digits in six domains: scikit-learn's 1,797 real 8x8 images, each image in exactly one domain.

The samples are cut into six stratified parts, one per domain, before anything else happens, and every part goes
through its own image operation: none, a rotation by 25 degrees, grey-value inversion, Gaussian noise, Gaussian blur,
a zoom. A method therefore never meets a target image, under whatever operation, among its source images.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.generic import MOST_SEED, check_choice, check_whole
from dazoo.data.label_sets import TEN_CLASSES
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("upright", "rotated", "inverted", "noisy", "blurred", "scaled")
SIDE = 8
ANGLE = 25.0
NOISE = 0.25
BLUR = 0.7
ZOOM = 0.8


def rows(domain: str, data_seed: int = 0) -> np.ndarray:
    """Row numbers (n,) of scikit-learn's digits that make up ``domain``, ascending.

    The six parts are disjoint, cover all 1,797 rows, and are stratified: in every class their sizes differ by at most
    one.
    """
    _, labels = _raw()
    rng = np.random.default_rng([data_seed, 1797])
    shuffled = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in range(10)])
    # dealing the class-sorted rows out like cards keeps the parts stratified and of equal size
    return np.sort(shuffled[DOMAINS.index(domain) :: len(DOMAINS)])


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
    picked = rows(domain, data_seed)
    x = np.clip(_shifted(images[picked], domain, np.random.default_rng([data_seed, 64])), 0.0, 1.0)
    y = torch.from_numpy(labels[picked])
    classes = tuple(str(c) for c in range(10))
    if kind == "image":
        return Domain(domain, torch.from_numpy(np.rint(255 * x).astype(np.uint8)[..., None]), y, classes, "image")
    return Domain(domain, torch.from_numpy(x.reshape(len(x), -1).astype(np.float32)), y, classes)


def _shifted(images: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
    """The image operation of ``domain`` on images (n, 8, 8) in [0, 1]."""
    from scipy import ndimage

    if domain == "rotated":
        return np.asarray(ndimage.rotate(images, ANGLE, axes=(2, 1), reshape=False, order=1))
    if domain == "inverted":
        return 1.0 - images
    if domain == "noisy":
        return images + NOISE * rng.standard_normal(images.shape)
    if domain == "blurred":
        return np.asarray(ndimage.gaussian_filter(images, (0.0, BLUR, BLUR)))
    if domain == "scaled":
        centre = (SIDE - 1) / 2
        offset = centre - centre / ZOOM
        return np.stack([ndimage.affine_transform(im, [1 / ZOOM] * 2, offset=offset, order=1) for im in images])
    return images


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
)

register_dataset(
    Dataset(
        name="digits",
        domains=DOMAINS,
        load=load,
        description="8x8 handwritten digits, six disjoint domains: upright, rotated, inverted, noisy, blurred, scaled",
        options={"kind": "vector", "data_seed": 0},
        check=check,
        license="UCI optical digits (Alpaydin and Kaynak, 1998), CC BY 4.0; shipped with scikit-learn",
        papers=PAPERS,
        splits=TEN_CLASSES,
    )
)
