"""What the image datasets of the field share: their layout on disk, how many images there are, and where they are had.

A family is a folder per domain with a folder per class in it, as its authors (or the field, by now) lay it out, or a
list of files and class numbers per domain. Loading counts: a copy that is not whole says so once, and loads.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from dazoo.core.errors import DazooError, DazooWarning
from dazoo.core.paper import Paper
from dazoo.data.domain import Domain
from dazoo.data.images import SUFFIXES, check_view, decode
from dazoo.data.registry import Dataset, register_dataset

_TOLD: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class ImageSet:
    """An image dataset of the field.

    Attributes:
        places: of every domain the folders below the data root where it may lie, the usual one first; or, ending in
            ``.txt``, lists of lines ``<file> <class number>`` with files relative to the family's folder (joined by
            ``+`` where they belong together).
        n_classes: number of classes. counts: images per domain of the whole set.
        where: where to get it and how to unpack it, in a sentence.
    """

    name: str
    places: Mapping[str, tuple[str, ...]]
    n_classes: int
    counts: Mapping[str, int]
    description: str
    license: str
    where: str
    papers: tuple[Paper, ...]
    splits: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def register(self) -> Dataset:
        """The dataset in the registry, under the name of the family."""
        return register_dataset(
            Dataset(
                name=self.name,
                domains=tuple(self.places),
                load=partial(load, self),
                description=self.description,
                options={"image_size": 224, "fit": "crop"},
                needs_root=True,
                check=_check,
                content=partial(content, self),
                license=self.license,
                papers=self.papers,
                splits=self.splits,
                counts=self.counts,
                where=self.where,
            )
        )


def _check(image_size: int, fit: str) -> None:
    check_view(image_size, fit)


def load(family: ImageSet, domain: str, root: Path, image_size: int = 224, fit: str = "crop") -> Domain:
    """The images of one domain (n, image_size, image_size, 3) uint8, sorted by class and name.

    Raises:
        DazooError: the files are not there (the message says which to put where), or classes are missing.
    """
    files, y, classes = _files(family, domain, root)
    if len(classes) != family.n_classes:
        raise DazooError(f"{family.name}: {len(classes)} classes are there, not {family.n_classes}; {family.where}")
    say_if_part(family.name, domain, len(files), family.counts.get(domain))
    return Domain(domain, decode(files, image_size, fit), torch.tensor(y), classes, "image")


def content(family: ImageSet, root: Path, **options: object) -> str:
    """Hash of the names and sizes of all images that are there: a part of a set is not the whole."""
    digest = hashlib.sha256()
    for domain in family.places:
        try:
            files = _files(family, domain, root)[0]
        except DazooError:
            continue  # a suite may need other domains only
        for file in files:
            digest.update(f"{domain}/{file.parent.name}/{file.name} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def say_if_part(name: str, domain: str, found: int, whole: int | None) -> None:
    """Warn, once per process, where not all samples of a domain of the field are here."""
    if whole is None or found == whole or (name, domain) in _TOLD:
        return
    _TOLD.add((name, domain))
    warnings.warn(
        f"{name}/{domain} has {found} of {whole} images here; results are no results of the whole set",
        DazooWarning,
        stacklevel=4,
    )


def _files(family: ImageSet, domain: str, root: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    for place in family.places[domain]:
        parts = [root / part for part in place.split("+")]
        if all(part.is_file() for part in parts) and place.endswith(".txt"):
            return _listed(parts, root / place.split("/")[0])
        if parts[0].is_dir():
            return _tree(parts[0])
    usual = root / family.places[domain][0].split("+")[0]
    raise DazooError(f"{family.name} needs {usual}, which is not there: {family.where}")


def _tree(place: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    classes = tuple(sorted(f.name for f in place.iterdir() if f.is_dir() and not f.name.startswith(".")))
    files, y = [], []
    for i, name in enumerate(classes):
        inside = sorted(f for f in (place / name).iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != ".")
        files += inside
        y += [i] * len(inside)
    if not files:
        raise DazooError(f"{place} holds no image ({', '.join(SUFFIXES)}) in folders of classes")
    return files, y, classes


def _listed(lists: list[Path], folder: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Files and classes of lists; a class is called as the folder of its first file."""
    files, y = [], []
    names: dict[int, str] = {}
    for place in lists:
        for i, line in enumerate(place.read_text(encoding="utf-8").splitlines()):
            path, _, label = line.strip().rpartition(" ")
            if not line.strip():
                continue
            if not path or not label.isdigit():
                raise DazooError(f"{place}: line {i + 1} is no '<file> <class number>' ({line[:60]!r}); copy it again")
            files.append(folder / path)
            y.append(int(label))
            names.setdefault(int(label), Path(path).parent.name)
    if not files:
        raise DazooError(f"{lists[0]} lists no image; copy it again")
    missing = next((f for f in files if not f.is_file()), None)
    if missing is not None:
        raise DazooError(f"{lists[0]} lists {missing}, which is not there; unpack the images beside the list")
    order = sorted(range(len(files)), key=lambda i: (y[i], files[i].name))
    classes = tuple(names.get(c, f"class {c}") for c in range(max(names) + 1))
    return [files[i] for i in order], [y[i] for i in order], classes
