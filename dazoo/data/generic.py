"""What the loaders for a user's own files share: finding the file, naming domains, coding labels (``data.labels``).

The loaders themselves are the datasets ``folder``, ``npz`` and ``table``. All three take the option ``path`` and the
option ``classes``, which says what happens where domains do not have the same classes: ``same`` keeps them as they
are, so that a task between them is refused; ``common`` drops the samples of classes that not all labelled domains
have; ``union`` gives every domain all names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dazoo.core.errors import DazooError
from dazoo.data.labels import Labels, in_order
from dazoo.data.names import point_out

POLICIES = ("same", "common", "union")
MOST_SEED = 2**32 - 1
_RESERVED = ("->", "+", "*", "?", "[", "/")


def locate(path: object, root: Path | None, dataset: str) -> Path:
    """The file or folder that the option ``path`` means: as it is, else below the data root.

    Raises:
        DazooError: no path is given, or nothing is there.
    """
    if not path or not isinstance(path, (str, Path)):
        raise DazooError(f"the dataset {dataset!r} needs the option path, e.g. path: my_data")
    given = Path(path).expanduser()
    for place in (given, *([root / given] if root is not None and not given.is_absolute() else [])):
        if place.exists():
            return place
    where = "" if root is None or given.is_absolute() else f", neither in the working folder nor below {root}"
    raise DazooError(f"the dataset {dataset!r} finds no {given}{where}; correct the option path")


def domain_names(names: Iterable[object], place: Path) -> tuple[str, ...]:
    """Names of domains as text, in their order.

    Raises:
        DazooError: there is none, or a name could not stand in the name of a task.
    """
    texts = tuple(str(n) for n in names)
    if not texts:
        raise DazooError(f"{place} holds no domain; see the documentation of the dataset for the expected layout")
    for text in texts:
        if not text or any(r in text for r in _RESERVED):
            raise DazooError(
                f"{place}: the domain name {text!r} holds one of {' '.join(_RESERVED)} or is empty; rename it"
            )
    return texts


def content_of(root: Path | None, path: object = None, **options: object) -> str:
    """Hash of the file that the option ``path`` means, or of the names and sizes of all files in that folder."""
    place = locate(path, root, "")
    digest = hashlib.sha256()
    if place.is_dir():
        for file in sorted(f for f in place.rglob("*") if f.is_file()):
            digest.update(f"{file.relative_to(place).as_posix()}\0{file.stat().st_size}\n".encode())
    else:
        with place.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def class_names(present: Mapping[str, Iterable[str] | None], domain: str, policy: str) -> tuple[str, ...]:
    """The classes of ``domain`` under a policy, numbers in numerical order, text in alphabetical order.

    Args:
        present: the classes that each domain has, None for unlabelled domains.
        domain: the domain asked for.
        policy: ``same``, ``common`` or ``union``.

    Raises:
        DazooError: an unknown policy, or no common class.
    """
    check_choice("classes", policy, POLICIES)
    sets = {name: set(found) for name, found in present.items() if found is not None}
    point_out(sorted(str(c) for c in set().union(*sets.values())))
    if policy == "same":
        chosen = sets.get(domain, set())
    elif policy == "union":
        chosen = set().union(*sets.values())
    else:
        chosen = set.intersection(*sets.values()) if sets else set()
        if not chosen and sets:
            raise DazooError(f"the domains {', '.join(sets)} have no class in common; use classes: union or same")
    return in_order(str(c) for c in chosen)


def coded(labels: Labels | None, classes: tuple[str, ...] | None) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Which samples a domain keeps, and its labels as fields of ``Domain``.

    Args:
        labels: (n,), some of them missing, or None without any.
        classes: names of the classes to keep; None for regression targets.

    Returns:
        Rows (m,), ascending: those whose class is in ``classes`` and those without a label; None for all. Then ``y``,
        ``classes`` and ``known`` of the rows kept.
    """
    if labels is None or not labels.known.any():
        return None, {"y": None, "classes": classes or ()}
    if classes is None:
        return None, {"y": labels.numbers(), "classes": (), "known": torch.from_numpy(labels.known)}
    rows = np.flatnonzero(~labels.known | np.isin(labels.names, list(classes)))
    kept = labels.rows(rows)
    return rows, {"y": kept.coded(classes), "classes": classes, "known": torch.from_numpy(kept.known)}


def check_whole(option: str, value: object, least: int, most: int) -> None:
    """Refuse what is no whole number between two bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise DazooError(
            f"the option {option} must be a whole number, at least {least} and at most {most}, not {value!r}"
        )


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices of an option."""
    if value not in choices:
        raise DazooError(f"the option {option} must be one of {', '.join(choices)}, not {value!r}")
