"""Image folders of one's own: ``<path>/<domain>/<class>/*.jpg``.

Every folder below ``path`` is a domain and every folder below that a class, empty ones included. Images directly
below a domain's folder have no label. Without class folders they make an unlabelled domain, which can serve as a
target; beside class folders, a target that was labelled in part.

    load_task("folder/photos->sketches", path="my_images", image_size=64)
"""

from __future__ import annotations

from pathlib import Path

import torch

from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, class_names, content_of, domain_names, locate
from dazoo.data.images import SUFFIXES, check_view, decode
from dazoo.data.registry import Dataset, register_dataset


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains below ``path``."""
    place = locate(path, root, "folder")
    if not place.is_dir():
        raise DazooError(f"the dataset 'folder' needs a folder, but {place} is a file; use the dataset npz or table")
    return domain_names(_folders(place), place)


def check(image_size: int, fit: str, classes: str, **options: object) -> None:
    """Refuse sizes and choices that are none."""
    check_view(image_size, fit)
    check_choice("classes", classes, POLICIES)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    image_size: int = 224,
    fit: str = "crop",
    classes: str = "same",
) -> Domain:
    """The images of one domain (n, image_size, image_size, 3) uint8, sorted by class and name, those without one last.

    Args:
        domain: name of the folder.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the folder of the domains.
        image_size: side of the decoded images in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        DazooError: nothing is there, or an image cannot be read.
    """
    place = locate(path, root, "folder")
    present = {d: _folders(place / d) or None for d in names(root, path)}
    chosen = class_names(present, domain, classes)
    if present[domain] is None:
        files = _images(place / domain)
        _need(files, place / domain)
        return Domain(domain, decode(files, image_size, fit), None, chosen, "image")
    inside = [*(_images(place / domain / c) for c in chosen), _images(place / domain)]
    files = [file for group in inside for file in group]
    _need(files, place / domain)
    y = torch.repeat_interleave(torch.arange(len(inside)), torch.tensor([len(group) for group in inside]))
    return Domain(domain, decode(files, image_size, fit), y, chosen, "image", known=y < len(chosen))


def _folders(place: Path) -> list[str]:
    return sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(f for f in place.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))


def _need(files: list[Path], place: Path) -> None:
    if not files:
        raise DazooError(f"{place} holds no image ({', '.join(SUFFIXES)}); put images there or into its class folders")


register_dataset(
    Dataset(
        name="folder",
        domains=names,
        load=load,
        description="your own images in folders <path>/<domain>/<class>/*.jpg",
        options={"path": None, "image_size": 224, "fit": "crop", "classes": "same"},
        license="yours",
        content=content_of,
        check=check,
    )
)
