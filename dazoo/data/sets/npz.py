"""Arrays of one's own in an ``.npz`` file, in one of two layouts.

Per domain: ``<domain>_x`` (n, ...), ``<domain>_y`` (n,), and where there is an official test part ``<domain>_x_test``
and ``<domain>_y_test``. Or all together: ``x`` (n, ...), ``y`` (n,) and ``domain`` (n,) with the names of the domains.
A domain without ``_y``, or whose labels are all NaN or empty text, is unlabelled; where only some are, it is a target
that was labelled in part, and methods that learn from few target labels see exactly those. ``<domain>_few`` (rows or a
mask) says which they see where more labels are known. Arrays (n, d) are vectors, (n, channels, length) series and 4-D
arrays pictures, channels last or first, bytes or floats.

    load_task("npz/old->new", path="sensors.npz")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dazoo.core.archive import read_given
from dazoo.core.errors import DazooError
from dazoo.data import samples
from dazoo.data.domain import Domain
from dazoo.data.generic import class_names, coded, content_of, domain_names, locate
from dazoo.data.labels import Labels, are_classes, few_rows, need_all, read
from dazoo.data.registry import Dataset, register_dataset

Part = tuple[np.ndarray, Labels | None]


def names(root: Path | None, path: str | None = None, **options: object) -> tuple[str, ...]:
    """The domains in the file."""
    place = locate(path, root, "npz")
    return domain_names(_domains(_read(place), place), place)


def look(
    root: Path | None, path: str | None = None, targets: str = "auto", unlabelled: object = None, **options: object
) -> str:
    """Whether labels are ``classes`` or ``values``."""
    place = locate(path, root, "npz")
    arrays = _read(place)
    ends = [(name, end) for name in _domains(arrays, place) for end in ("", "_test")]
    parts = [_part(arrays, n, end, place, unlabelled)[1] for n, end in ends if not end or f"{n}_x_test" in arrays]
    return "classes" if are_classes([y for y in parts if y is not None], targets, f"{place}: the labels") else "values"


def load(
    domain: str,
    root: Path | None,
    path: str | None = None,
    targets: str = "auto",
    classes: str = "same",
    unlabelled: object = None,
) -> Domain:
    """The samples of one domain, as they stand in the file; pictures of any range and layout become uint8, integers
    floating point that holds them.

    Args:
        domain: name of the domain.
        root: the data root, where ``path`` is looked up if it does not exist as it is.
        path: the file.
        targets: ``auto`` (fractions make regression targets, all else classes), ``classes`` or ``values``.
        classes: ``same``, ``common`` or ``union``, see ``dazoo.data.generic``.
        unlabelled: a value, or a list of values, that means "no label", e.g. -1.

    Raises:
        DazooError: the file is missing or damaged, or arrays do not fit together.
    """
    place = locate(path, root, "npz")
    arrays = _read(place)
    found = domain_names(_domains(arrays, place), place)
    parts = {name: _part(arrays, name, "", place, unlabelled) for name in found}
    tests = {name: _part(arrays, name, "_test", place, unlabelled) for name in found if f"{name}_x_test" in arrays}
    labels = [y for _, y in (*parts.values(), *tests.values()) if y is not None]
    as_classes = are_classes(labels, targets, f"{place}: the labels")
    present: dict[str, set[str] | None] = {}
    for name, (_, y) in parts.items():
        extra = tests[name][1] if name in tests else None
        present[name] = None if y is None else y.present | (set() if extra is None else extra.present)
    chosen = class_names(present, domain, classes) if as_classes else None
    made = _domain(domain, parts[domain], chosen, place, arrays.get(f"{domain}_few"))
    if domain in tests:
        made = replace(made, test=_domain(domain, tests[domain], chosen, place))
    return made


def _read(place: Path) -> dict[str, np.ndarray]:
    if place.is_dir():
        raise DazooError(f"the dataset 'npz' needs a file, but {place} is a folder; use the dataset folder")
    return read_given(place)


def _domains(arrays: dict[str, np.ndarray], place: Path) -> list[str]:
    if "x" in arrays:
        for key in ("y", "domain"):
            if key not in arrays or len(arrays[key]) != len(arrays["x"]):
                raise DazooError(f"{place} has an array 'x', so it needs {key!r} with one entry per row of 'x'")
        return sorted(set(_names(arrays, place)))
    return sorted(key.removesuffix("_x") for key in arrays if key.endswith("_x"))


def _names(arrays: dict[str, np.ndarray], place: Path) -> np.ndarray:
    """The name of the domain (n,) of every row."""
    found = read(arrays["domain"], f"{place}: the entries of 'domain'")
    need_all(found.known, f"{place}: 'domain'")
    return found.names


def _part(arrays: dict[str, np.ndarray], name: str, suffix: str, place: Path, unlabelled: object) -> Part:
    y: np.ndarray | None
    if "x" in arrays:
        rows = _names(arrays, place) == name
        x, y = arrays["x"][rows], arrays["y"][rows]
    else:
        x, y = arrays[f"{name}_x{suffix}"], arrays.get(f"{name}_y{suffix}")
    if x.ndim == 0:
        raise DazooError(f"{place}: the samples of {name!r} must be numbers (n, ...), not a single value")
    if y is not None and y.shape != (len(x),):
        raise DazooError(f"{place}: {name!r} has {len(x)} samples, but its labels have the shape {y.shape}")
    labels = None if y is None else read(y, f"{place}: the labels of {name!r}", unlabelled)
    return x, labels if labels is not None and labels.known.any() else None


def _domain(
    name: str, part: Part, classes: tuple[str, ...] | None, place: Path, few: np.ndarray | None = None
) -> Domain:
    x, y = part
    try:
        data, schema = samples.read(x, f"the array of {name!r} samples")
    except DazooError as error:
        raise DazooError(f"{place}: samples must be numbers (n, ...): {error}") from error
    shown = None if few is None else few_rows(few, len(x))[0]
    rows, labels = coded(y, classes)
    if rows is not None:
        data, shown = data[torch.from_numpy(rows)], None if shown is None else np.flatnonzero(np.isin(rows, shown))
    chosen = None if shown is None else torch.from_numpy(shown)
    return Domain(name, data, kind=schema.kind, few=chosen, schema=schema, **labels)


register_dataset(
    Dataset(
        name="npz",
        domains=names,
        load=load,
        description="your own arrays in an .npz file: <domain>_x and <domain>_y, or x, y and domain",
        options={"path": None, "targets": "auto", "classes": "same", "unlabelled": None},
        license="yours",
        content=content_of,
        look=look,
    )
)
