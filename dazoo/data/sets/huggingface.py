"""Datasets of the Hugging Face library: pictures or texts with a label, from a folder or from the hub.

``path`` is a folder that ``save_to_disk`` wrote, or a name on the hub, where one can be reached (``config`` chooses
among several). Domains are the entries of ``domain_column``, or else the splits. ``image_column`` or ``text_column``
is found by its type where none is named. Needs ``pip install 'dazoo[huggingface]'``.

    load_task("huggingface/photo->sketch", path="flwrlabs/pacs", domain_column="domain", image_size=64)
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dazoo.core.errors import DazooError, UnknownName, nearest
from dazoo.data.domain import Domain
from dazoo.data.generic import POLICIES, check_choice, class_names, coded, content_of, domain_names
from dazoo.data.images import check_view, fitted
from dazoo.data.labels import Labels, read
from dazoo.data.raw import Texts
from dazoo.data.registry import Dataset, register_dataset
from dazoo.data.samples import Schema

OPTIONS = {
    "path": None, "config": None, "image_column": None, "text_column": None, "label_column": "label",
    "domain_column": None, "image_size": 224, "fit": "crop", "classes": "same",
}  # fmt: skip


def names(
    root: Path | None,
    path: str | None = None,
    config: str | None = None,
    domain_column: str | None = None,
    **options: object,
) -> tuple[str, ...]:
    """The entries of the domain column, or the splits."""
    return domain_names(sorted(_parts(path, root, config, domain_column)), Path(str(path)))


def check(image_size: int, fit: str, classes: str, **options: object) -> None:
    """Refuse sizes and choices that are none."""
    check_view(image_size, fit)
    check_choice("classes", classes, POLICIES)


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    config: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    label_column: str = "label",
    domain_column: str | None = None,
    image_size: int = 224,
    fit: str = "crop",
    classes: str = "same",
) -> Domain:
    """The pictures (n, image_size, image_size, 3) uint8, held in memory, or the texts of one domain.

    Args:
        domain: an entry of the domain column, or a split.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: a folder, or a name on the hub. config: of a dataset that has several.
        image_column, text_column: the column of the samples, found by its type where none is named.
        label_column, domain_column: the columns of labels and of domains.
        image_size: side of the pictures in pixels.
        fit: ``crop`` or ``squash``, see ``dazoo.data.images.decode``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.

    Raises:
        UnknownName: a column does not exist.
        DazooError: the library or the dataset is not there, or holds neither pictures nor texts.
    """
    parts = _parts(path, root, config, domain_column)
    labels = {d: _labels(part, label_column) for d, part in parts.items()}
    present = {d: y.present if y.known.any() else None for d, y in labels.items()}
    rows, fields = coded(labels[domain], class_names(present, domain, classes))
    part = parts[domain] if rows is None else parts[domain].select(rows)
    column, kind = _samples(part, image_column, text_column)
    if kind == "text":
        x: Any = Texts.of(["" if t is None else str(t) for t in part[column]])
        return Domain(domain, x, kind="text", schema=Schema("text", ()), **fields)
    shown = np.empty((len(part), image_size, image_size, 3), dtype=np.uint8)
    for i, row in enumerate(part.select_columns([column])):
        try:
            shown[i] = fitted(row[column], image_size, fit)
        except Exception as error:  # decoders raise many kinds on damaged files, and a missing picture is None
            raise DazooError(f"{path}: picture {i} of {domain!r} cannot be read ({error}); remove it") from error
    return Domain(domain, torch.from_numpy(shown), kind="image", **fields)


def encoder(
    root: Path | None,
    path: str | None = None,
    config: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    **_: Any,
) -> str:
    """The encoder that texts need; empty for pictures."""
    if image_column is not None or text_column is not None:
        return "" if image_column is not None else "tfidf"
    return "tfidf" if _samples(next(iter(_loaded(path, root, config).values())), None, None)[1] == "text" else ""


def content(root: Path | None, path: str | None = None, config: str | None = None, **options: object) -> str:
    """Hash of the files, or of what the hub gives."""
    place = _folder(path, root)
    if place is not None:
        return content_of(None, str(place))
    prints = [str(getattr(part, "_fingerprint", "")) for part in _loaded(path, root, config).values()]
    return hashlib.sha256(repr(prints).encode()).hexdigest()[:32]


def _folder(path: object, root: Path | None) -> Path | None:
    if not path or not isinstance(path, (str, Path)):
        raise DazooError("the dataset 'huggingface' needs the option path: a folder, or a name on the hub")
    given = Path(path).expanduser()
    return next((p for p in (given, *([root / given] if root is not None else [])) if p.is_dir()), None)


def _loaded(path: object, root: Path | None, config: str | None) -> dict[str, Any]:
    """The splits by name; one that has no name is called ``all``."""
    place = _folder(path, root)
    return _read(str(path if place is None else place), place is not None, config)


@lru_cache(maxsize=2)
def _read(path: str, folder: bool, config: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ImportError:
        raise DazooError("Hugging Face datasets need their library: pip install 'dazoo[huggingface]'") from None
    try:
        found = datasets.load_from_disk(path) if folder else datasets.load_dataset(path, config)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DazooError(
            f"the Hugging Face dataset {path!r} cannot be loaded ({why}); it must be a folder that save_to_disk wrote, "
            "or a name that the hub knows and can be reached"
        ) from None
    return dict(found) if isinstance(found, dict) else {"all": found}


def _parts(path: object, root: Path | None, config: str | None, column: str | None) -> dict[str, Any]:
    """The rows of every domain."""
    splits = _loaded(path, root, config)
    if column is None:
        return splits
    found: dict[str, Any] = {}
    for part in splits.values():
        which = _labels(part, column).names
        for entry in sorted(set(which) - {""}):
            mine = part.select(np.flatnonzero(which == entry))
            found[entry] = mine if entry not in found else _joined(found[entry], mine)
    return found


def _joined(one: Any, other: Any) -> Any:
    import datasets

    return datasets.concatenate_datasets([one, other])


def _labels(part: Any, column: str) -> Labels:
    """The entries of a column, by the names that the dataset gives to its numbers."""
    if column not in part.features:
        raise UnknownName(f"the Hugging Face dataset has no column {column!r}: {nearest(column, part.features)}")
    called = getattr(part.features[column], "names", None)
    values = list(part[column])
    if called:
        values = [None if v is None or v < 0 else called[v] for v in values]
    return read(np.asarray(values, dtype=object), f"the entries of {column!r}")


def _samples(part: Any, image: str | None, text: str | None) -> tuple[str, str]:
    """The column of the samples and their kind."""
    asked = image or text
    if asked is not None:
        if asked not in part.features:
            raise UnknownName(f"the Hugging Face dataset has no column {asked!r}: {nearest(asked, part.features)}")
        return asked, "image" if image else "text"
    pictures = [n for n, f in part.features.items() if type(f).__name__ == "Image"]
    words = [n for n in ("text", "sentence", "content") if n in part.features]
    if pictures or words:
        return (pictures[0], "image") if pictures else (words[0], "text")
    listed = ", ".join(part.features)
    raise DazooError(
        f"the Hugging Face dataset has the columns {listed}; say which holds samples by image_column or text_column"
    )


register_dataset(
    Dataset(
        name="huggingface",
        domains=names,
        load=load,
        description="pictures or texts of a Hugging Face dataset, from a folder or from the hub",
        options=OPTIONS,
        license="that of the dataset",
        content=content,
        check=check,
        encoder=encoder,
    )
)
