"""Which rows make a batch: drawn so that every class, or every source, has its share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor


def class_slots(classes: Tensor, size: int, gen: Generator) -> Tensor:
    """``size`` places for the given ``classes`` (k,): each class floor(size / k) or one more times, in random order."""
    order = classes[torch.randperm(len(classes), generator=gen)]
    slots = order.repeat(-(-size // len(order)))[:size]
    return slots[torch.randperm(size, generator=gen)]


def rows_of(slots: Tensor, labels: Tensor, spare: Tensor, gen: Generator) -> Tensor:
    """For each place (b,) a row of that class, drawn without repetition as long as the class has rows left.

    labels (n,); places of classes without a row keep the ``spare`` row (b,) that stands there.
    """
    found = spare.clone()
    for c in torch.unique(slots).tolist():
        places, members = torch.nonzero(slots == c)[:, 0], torch.nonzero(labels == c)[:, 0]
        if len(members):
            turns = -(-len(places) // len(members))
            drawn = torch.cat([members[torch.randperm(len(members), generator=gen)] for _ in range(turns)])
            found[places] = drawn[: len(places)]
    return found


def even_by_class(rows: Mapping[str, Tensor], ys: Tensor, labels: Tensor, gen: Generator) -> Mapping[str, Tensor]:
    """Rows ``s`` and ``t`` of a batch anew: the source's classes in turns, by labels ``ys`` (n_s,), and a target sample
    of the same class for each, by pseudo-labels ``labels`` (n_t,). For ``GradientMethod.redraw``."""
    slots = class_slots(torch.unique(ys), len(rows["s"]), gen)
    return {**rows, "s": rows_of(slots, ys, rows["s"], gen), "t": rows_of(slots, labels, rows["t"], gen)}


def even_groups(rows: Mapping[str, Tensor], groups: Tensor, gen: Generator) -> Mapping[str, Tensor]:
    """Rows ``s`` of a batch anew, as many of each group: groups (n_s,) says of which source, or class, a sample is."""
    slots = class_slots(torch.unique(groups), len(rows["s"]), gen)
    return {**rows, "s": rows_of(slots, groups, rows["s"], gen)}
