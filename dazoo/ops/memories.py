"""Which samples of a stream a small memory keeps: by class, by age and by how unsure they were."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def timeliness(ages: Tensor) -> Tensor:
    """Weights ``exp(-a) / (1 + exp(-a))`` of samples by their ages (n,) in units of the memory's capacity.

    Yuan et al., CVPR 2023 (RoTTA), https://arxiv.org/abs/2303.13899
    """
    return torch.sigmoid(-ages)


def stale(
    ages: np.ndarray, entropies: np.ndarray, capacity: int, n_classes: int, by_age: float, by_entropy: float
) -> np.ndarray:
    """How much samples (n,) deserve to go: ``by_age / (1 + exp(-age / capacity)) + by_entropy entropy / ln C``."""
    return by_age / (1.0 + np.exp(-ages / capacity)) + by_entropy * entropies / math.log(max(n_classes, 2))


def place_by_age(
    labels: Sequence[int],
    ages: Sequence[float],
    entropies: Sequence[float],
    label: int,
    entropy: float,
    capacity: int,
    n_classes: int,
    by_age: float = 1.0,
    by_entropy: float = 1.0,
) -> int | None:
    """Where a new sample goes in a memory that holds classes evenly: the row it replaces, the number of rows where it
    is added, or None where it is dropped.

    A class has room for ``capacity / C`` samples. A sample of a class with room is added, or where the memory is full
    replaces the most ``stale`` sample of the largest classes; one of a class without room the most stale of its own.
    What it would replace stays if it is not staler than the new sample.

    Yuan et al., CVPR 2023 (RoTTA), https://arxiv.org/abs/2303.13899

    Args:
        labels, ages, entropies: of the rows, in the order of their arrival.
    """
    held, counts = np.asarray(labels, dtype=np.int64), np.bincount(labels, minlength=n_classes)
    if counts[label] < capacity / n_classes:
        if len(held) < capacity:
            return len(held)
        rows = np.flatnonzero(counts[held] == counts.max())
    else:
        rows = np.flatnonzero(held == label)
    if not len(rows):
        return len(held)
    scores = stale(np.asarray(ages)[rows], np.asarray(entropies)[rows], capacity, n_classes, by_age, by_entropy)
    fresh = stale(np.zeros(1), np.array([entropy]), capacity, n_classes, by_age, by_entropy)[0]
    # of equals the last one goes, class by class
    worst = max(range(len(rows)), key=lambda i: (scores[i], held[rows[i]], i))
    return int(rows[worst]) if scores[worst] > fresh else None


def place_by_reservoir(
    labels: Sequence[int], seen: Sequence[int], label: int, capacity: int, gen: torch.Generator
) -> int | None:
    """Where a new sample goes in a memory that is a fair draw of what was predicted as each class: the row it replaces,
    the number of rows where it is added, or None where it is dropped.

    A full memory gives up a random sample of its largest class. One that is of a largest class itself replaces one of
    that class with the chance (kept of the class) / (seen of the class).

    Gong et al., NeurIPS 2022 (NOTE), https://arxiv.org/abs/2208.05117, algorithm 1

    Args:
        labels: of the rows. seen: samples so far by class, this one included.
    """
    held = np.asarray(labels, dtype=np.int64)
    if len(held) < capacity:
        return len(held)
    counts = np.bincount(held, minlength=len(seen))
    largest = np.flatnonzero(counts == counts.max())
    if label not in largest:
        label = int(largest[_draw(len(largest), gen)])
    elif float(torch.rand((), generator=gen, device=gen.device)) > counts[label] / seen[label]:
        return None
    rows = np.flatnonzero(held == label)
    return int(rows[_draw(len(rows), gen)])


def _draw(n: int, gen: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=gen, device=gen.device))
