"""Image folders of one's own: ``<path>/<domain>/<class>/*.jpg``.

Every folder below ``path`` is a domain and every folder below that a class, empty ones included. Images directly
below a domain's folder have no label. Without class folders they make an unlabelled domain, which can serve as a
target; beside class folders, a target that was labelled in part.

    load_task("folder/photos->sketches", path="my_images", image_size=64)
"""

from __future__ import annotations

from pathlib import Path

from dazoo.data.domain import Domain
from dazoo.data.folders import domains_below, found_below
from dazoo.data.generic import POLICIES, check_choice, content_of
from dazoo.data.images import SUFFIXES, check_view, decode
from dazoo.data.registry import Dataset, register_dataset


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains below ``path``."""
    return domains_below(path, root, "folder", "use the dataset image_list, npz or table")


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
    found = found_below(path, root, "folder", domain, classes, SUFFIXES, "image")
    return Domain(domain, decode(found.files, image_size, fit), found.y, found.classes, "image", known=found.known)


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
