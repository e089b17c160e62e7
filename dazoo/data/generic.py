"""What the loaders for a user's own files share: finding the file, naming domains, coding labels.

The loaders themselves are the datasets ``folder``, ``npz`` and ``table``. All three take the option ``path`` and the
option ``classes``, which says what happens where domains do not have the same classes: ``same`` keeps them as they
are, so that a task between them is refused; ``common`` drops the samples of classes that not all labelled domains
have; ``union`` gives every domain all names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError

POLICIES = ("same", "common", "union")
TARGETS = ("auto", "classes", "values")
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
    if policy == "same":
        chosen = sets.get(domain, set())
    elif policy == "union":
        chosen = set().union(*sets.values())
    else:
        chosen = set.intersection(*sets.values()) if sets else set()
        if not chosen and sets:
            raise DazooError(f"the domains {', '.join(sets)} have no class in common; use classes: union or same")
    return tuple(sorted((str(c) for c in chosen), key=_order))


def is_classes(labels: np.ndarray, targets: str, place: Path) -> bool:
    """Whether labels are classes: text, whole numbers and truth values are, fractions are regression targets.

    Args:
        labels: (n,) labels without missing ones.
        targets: ``auto``, or ``classes`` or ``values`` to decide by hand.
        place: where they come from, for messages.

    Raises:
        DazooError: ``values`` is asked for, but the labels are no numbers.
    """
    check_choice("targets", targets, TARGETS)
    numeric = np.issubdtype(labels.dtype, np.number)
    if targets == "values" and not numeric:
        raise DazooError(
            f"{place}: the labels are no numbers, so they cannot be regression targets; use targets: classes"
        )
    if targets == "auto":
        return not (np.issubdtype(labels.dtype, np.floating) and bool((labels != np.round(labels)).any()))
    return targets == "classes"


def as_text(labels: np.ndarray) -> np.ndarray:
    """Class names (n,) of labels (n,); whole floats lose their point, truth values become 0 and 1."""
    if labels.dtype == bool:
        labels = labels.astype(np.int64)
    if np.issubdtype(labels.dtype, np.floating) and bool((labels == np.round(labels)).all()):
        labels = labels.astype(np.int64)
    return labels.astype(str)


def code(names: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, Tensor]:
    """Rows (m,) whose class is in ``classes``, ascending, and their class indices (m,) int64."""
    index = {c: i for i, c in enumerate(classes)}
    rows = np.flatnonzero([n in index for n in names])
    return rows, torch.tensor([index[names[i]] for i in rows], dtype=torch.int64)


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices of an option."""
    if value not in choices:
        raise DazooError(f"the option {option} must be one of {', '.join(choices)}, not {value!r}")


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
