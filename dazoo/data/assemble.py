"""From arrays as people give them to the domains of a task."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.labels import Labels
from dazoo.data.samples import Schema


def domain_of(name: str, x: Tensor, schema: Schema, y: Labels | None, classes: tuple[str, ...]) -> Domain:
    """Samples and labels as they were read, as a domain; labels become indices into ``classes``, or values."""
    if y is not None and len(y) != len(x):
        raise DazooError(f"{name} has {len(x)} samples but {len(y)} labels")
    coded = None if y is None else y.coded(classes) if classes else y.numbers()
    known = None if y is None else torch.from_numpy(y.known)
    return Domain(name, x, coded, classes, schema.kind, known=known, schema=schema)


def several(xs: Any, ys: Any) -> bool:
    """Whether samples and labels are those of several sources."""
    lists = isinstance(xs, (list, tuple)) and isinstance(ys, (list, tuple)) and len(xs) > 0 and len(ys) > 0
    return lists and _ndim(xs[0]) >= 2 and _ndim(ys[0]) >= 1


def _ndim(x: Any) -> int:
    try:
        return np.ndim(x)
    except ValueError:  # lists of unlike length
        return 1


def what_of(domain: Domain) -> str:
    """What the labels of a domain are, as a word."""
    return "fractions" if domain.regression else "classes"
