"""From arrays as people give them to the domains of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.answers import UNKNOWN
from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.labels import Labels, in_order
from dazoo.data.raw import Raw
from dazoo.data.raw_input import read_raw
from dazoo.data.samples import Schema


def domain_of(name: str, x: Any, schema: Schema, y: Labels | None, classes: tuple[str, ...]) -> Domain:
    """Samples and labels as they were read, as a domain; labels become indices into ``classes``, or values."""
    if y is not None and len(y) != len(x):
        raise DazooError(f"{name} has {len(x)} samples but {len(y)} labels")
    coded = None if y is None else y.coded(classes) if classes else y.numbers()
    known = None if y is None else torch.from_numpy(y.known)
    return Domain(name, x, coded, classes, schema.kind, known=known, schema=schema)


def several(xs: Any, ys: Any) -> bool:
    """Whether samples and labels are those of several sources."""
    lists = isinstance(xs, (list, tuple)) and isinstance(ys, (list, tuple)) and len(xs) > 0 and len(ys) > 0
    return lists and ndim(ys[0]) >= 1 and (ndim(xs[0]) >= 2 or read_raw(xs[0], "the source") is not None)


def ndim(x: Any) -> int:
    """The number of axes of an array, of raw samples or of nested lists; 1 for lists of unlike length."""
    if isinstance(x, Raw):
        return len(x.shape)  # numpy would take every row by itself to find out
    try:
        return np.ndim(x)
    except ValueError:
        return 1


def what_of(domain: Domain) -> str:
    """What the labels of a domain are, as a word."""
    return "fractions" if domain.regression else "classes"


def classes_differ(task: str, a: Domain, b: Domain) -> str:
    """What is wrong with a closed-set task of two domains that hold different classes."""
    only_a, only_b = sorted(set(a.classes) - set(b.classes)), sorted(set(b.classes) - set(a.classes))
    return (
        f"task {task!r} is closed-set, but {a.name!r} and {b.name!r} have different classes: only in {a.name!r} "
        f"{only_a[:5]}, only in {b.name!r} {only_b[:5]}; keep the common classes in both"
    )


def told_apart(task: str, sources: tuple[Domain, ...], target: Domain) -> tuple[tuple[Domain, ...], Domain]:
    """Domains with other codes: the classes that sources have samples of, and after them, in the target, those that
    they have not."""
    listed = list(dict.fromkeys(c for s in sources for c in s.classes))
    if any(s.classes != sources[0].classes for s in sources):
        listed = list(in_order(listed))
    occurring = set().union(*(s.occurring for s in sources))
    known = tuple(c for c in listed if c in occurring)
    coded = tuple(s.coded_as(known) for s in sources)
    if UNKNOWN in known:
        raise DazooError(f"task {task!r} has a class called {UNKNOWN!r}, the word for none of them; rename it")
    if target.occurring and not target.occurring & set(known):
        raise DazooError(f"task {task!r}: source and target share no class, so that nothing can be recognised")
    private = tuple(c for c in target.classes if c in target.occurring and c not in known)
    return coded, target.coded_as((*known, *private))


def check_alike(task: str, source: Domain, other: Domain) -> None:
    """An error where a source's samples look unlike those of ``other``: the target, or the first source where the
    target has features of its own."""
    both = source.raw and other.raw
    if both and (unlike := other.x.unlike(source.x)):
        raise DazooError(f"task {task!r}: source {source.name!r} {unlike}")
    if both or (source.x.shape[1:] == other.x.shape[1:] and source.kind == other.kind):
        return
    raise DazooError(
        f"task {task!r}: source {source.name!r} has {source.kind} samples of shape {tuple(source.x.shape[1:])}, "
        f"{other.name!r} {other.kind} samples of shape {tuple(other.x.shape[1:])}; bring them to one feature space "
        "first, or say setting='heterogeneous' where source and target have different features"
    )


def check_words(name: str, words: Tensor | None, n_classes: int, target: Domain) -> None:
    """An error where features of the names of classes are not one row for each, as long as a sample."""
    if words is None:
        return
    width = target.x.shape[1] if not target.raw and target.x.ndim == 2 else words.shape[-1]
    if tuple(words.shape) != (n_classes, width) or not words.is_floating_point() or not bool(words.isfinite().all()):
        raise DazooError(
            f"task {name!r}: words must be finite features of the class names, ({n_classes}, {width}) numbers in the "
            f"order of its classes, not {tuple(words.shape)}"
        )
