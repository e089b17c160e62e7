"""PACS: seven classes as photographs, art paintings, cartoons and sketches.

Files below the data root: ``pacs/<domain>/<class>/*.jpg``, the layout of its authors. All images there are taken, so
that a part of the 9,991 (1,670 photographs, 2,048 paintings, 2,344 cartoons, 3,929 sketches) loads, too; ``content``
tells one part from another. Li, Yang, Song, Hospedales, ICCV 2017.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.image_sets import say_if_part
from dazoo.data.images import check_view, decode, image_files
from dazoo.data.registry import Dataset, register_dataset

DOMAINS = ("art_painting", "cartoon", "photo", "sketch")
COUNTS = {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}
CLASSES = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")


def check(image_size: int, fit: str) -> None:
    """Refuse sizes that are none."""
    check_view(image_size, fit)


def load(domain: str, root: Path, image_size: int = 224, fit: str = "crop") -> Domain:
    """The images of one domain (n, image_size, image_size, 3) uint8, sorted by class and name.

    Args:
        domain: one of ``DOMAINS``.
        root: the data root.
        image_size: side of the decoded images in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.

    Raises:
        DazooError: the files are missing or damaged, or an option has no such value.
    """
    files = image_files(root / "pacs" / domain, CLASSES, "pacs")
    say_if_part("pacs", domain, len(files), COUNTS[domain])
    y = torch.tensor([CLASSES.index(f.parent.name) for f in files])
    return Domain(domain, decode(files, image_size, fit), y, CLASSES, "image")


def content(root: Path, **options: object) -> str:
    """Hash of the names and sizes of all images: a part of the data set is not the whole."""
    digest = hashlib.sha256()
    for domain in DOMAINS:
        for file in image_files(root / "pacs" / domain, CLASSES, "pacs"):
            digest.update(f"{domain}/{file.parent.name}/{file.name} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


PAPERS = (
    Paper(
        title="Deeper, Broader and Artier Domain Generalization",
        authors="Da Li, Yongxin Yang, Yi-Zhe Song, Timothy M. Hospedales",
        year=2017,
        url="https://arxiv.org/abs/1710.03077",
        venue="IEEE International Conference on Computer Vision",
    ),
)

register_dataset(
    Dataset(
        name="pacs",
        domains=DOMAINS,
        load=load,
        description="seven classes as photographs, art paintings, cartoons and sketches",
        options={"image_size": 224, "fit": "crop"},
        needs_root=True,
        check=check,
        content=content,
        counts=COUNTS,
        where="get the PACS archive that DomainBed names and unpack it so that pacs/photo/<class>/*.jpg, "
        "pacs/art_painting, pacs/cartoon and pacs/sketch lie below the data root",
        license="research use; Li et al. 2017; images from Caltech-256, Sketchy, TU-Berlin and the web",
        papers=PAPERS,
    )
)
