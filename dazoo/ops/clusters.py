"""Clusters on the unit sphere, started where the classes of another domain lie. Not for use inside losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def class_directions(f: Tensor, w: Tensor) -> Tensor:
    """Unit-norm class means of unit-norm rows: f (n, d), class weights w (n, C) -> (C, d); zero for an empty class."""
    return functional.normalize(w.T @ functional.normalize(f, dim=1), dim=1)


def spherical_k_means(f: Tensor, start: Tensor, rounds: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """k-means by cosine: f (n, d), start (C, d) -> unit centres (C, d), labels (n,), distances (n,).

    In turn, each row goes to the centre of largest cosine, and each centre becomes the direction of its rows' mean; a
    centre without rows stays. Ends when no label changes, at the latest after ``rounds``. Distances are (1 - cos) / 2
    to the row's centre, in [0, 1].
    """
    z = functional.normalize(f, dim=1)
    centres = functional.normalize(start, dim=1)
    label = (z @ centres.T).argmax(1)
    for _ in range(rounds):
        w = functional.one_hot(label, len(centres)).to(z.dtype)
        moved = class_directions(z, w)
        centres = torch.where(w.sum(0)[:, None] > 0, moved, centres)
        new = (z @ centres.T).argmax(1)
        if torch.equal(new, label):
            break
        label = new
    cosine = (z * centres[label]).sum(1)
    return centres, label, (1.0 - cosine) / 2.0
