"""Images of one's own by lists: ``<path>/<domain>.txt`` with lines ``<file> <label>``.

Every ``.txt`` file in ``path`` is the list of a domain; ``<domain>_train.txt`` and ``<domain>_test.txt`` are one domain
with an official test part. File and label stand apart by a space, a tab or a comma; labels are names or numbers; a
line without one is an image without a label. Files are relative to the folder ``images``, by default to that of the
lists, so the images may lie anywhere.

    load_task("image_list/photos->sketches", path="my_lists", images="/data/all_images")
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, class_names, coded, content_of, domain_names, locate
from dazoo.data.images import SUFFIXES, check_view, decode
from dazoo.data.labels import read
from dazoo.data.registry import Dataset, register_dataset

TRAIN, TEST = "_train", "_test"
Rows = list[tuple[Path, str]]


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains that have a list."""
    place = locate(path, root, "image_list")
    return domain_names(_lists(place), place)


def check(image_size: int, fit: str, classes: str, **options: object) -> None:
    """Refuse sizes and choices that are none."""
    check_view(image_size, fit)
    check_choice("classes", classes, POLICIES)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    images: str | None = None,
    image_size: int = 224,
    fit: str = "crop",
    classes: str = "same",
) -> Domain:
    """The images of one domain (n, image_size, image_size, 3) uint8 in the order of its list.

    Args:
        domain: name of the list.
        root: the data root, where ``path`` and ``images`` are looked up if they do not exist as they are.
        path: the folder of the lists.
        images: the folder that files are relative to; by default that of the lists.
        image_size: side of the decoded images in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        DazooError: a list or an image is not there or cannot be read.
    """
    place = locate(path, root, "image_list")
    folder = place if images is None else locate(images, root, "image_list")
    rows = {d: tuple(_rows(part, folder) for part in parts) for d, parts in _lists(place).items()}
    labels = {d: read([label for part in parts for _, label in part], f"the list {d}") for d, parts in rows.items()}
    present = {d: y.present if y.known.any() else None for d, y in labels.items()}
    chosen = class_names(present, domain, classes)

    def made(part: Rows) -> Domain:
        kept, fields = coded(read([label for _, label in part], f"the list {domain}"), chosen)
        files = [part[i][0] for i in (np.arange(len(part)) if kept is None else kept)]
        if not files:
            raise DazooError(f"{place}: the list of {domain!r} names no image of the classes; correct it")
        return Domain(domain, decode(files, image_size, fit), kind="image", **fields)

    whole, *test = map(made, rows[domain])
    return Domain(domain, whole.x, whole.y, chosen, "image", known=whole.known, test=test[0] if test else None)


def _lists(place: Path) -> dict[str, list[Path]]:
    """The lists of every domain: one, or that of its training part and that of its test part."""
    if not place.is_dir():
        raise DazooError(f"the dataset 'image_list' needs a folder of lists, but {place} is a file; name its folder")
    files = {f.stem: f for f in sorted(place.iterdir()) if f.suffix.lower() == ".txt" and not f.name.startswith(".")}
    both = {s.removesuffix(TRAIN) for s in files if s.endswith(TRAIN) and s.removesuffix(TRAIN) + TEST in files}
    found: dict[str, list[Path]] = {}
    for stem, file in files.items():
        name = next((n for n in both if stem in (n + TRAIN, n + TEST)), None)
        if name is None:
            found[stem] = [file]
        else:
            found[name] = [files[name + TRAIN], files[name + TEST]]
    return found


def _rows(place: Path, images: Path) -> Rows:
    """Files and labels of a list, empty text where there is no label."""
    found: Rows = []
    for number, line in enumerate(place.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        name, label = _parted(line.strip())
        file = images / name
        if not file.is_file():
            raise DazooError(
                f"{place}, line {number}: there is no image {file}; correct the line, or name the folder of the "
                "images by the option images"
            )
        found.append((file, label))
    if not found:
        raise DazooError(f"{place} lists no image; write lines '<file> <label>' into it, or remove it")
    return found


def _parted(line: str) -> tuple[str, str]:
    between = next((s for s in ("\t", ",") if s in line), " ")
    name, _, label = (part.strip() for part in line.rpartition(between))
    return (line, "") if not name or Path(label).suffix.lower() in SUFFIXES else (name, label)


register_dataset(
    Dataset(
        name="image_list",
        domains=names,
        load=load,
        description="your own images by lists <path>/<domain>.txt with lines '<file> <label>'",
        options={"path": None, "images": None, "image_size": 224, "fit": "crop", "classes": "same"},
        license="yours",
        content=content_of,
        check=check,
    )
)
