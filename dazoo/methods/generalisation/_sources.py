"""What methods have in common that learn from several labelled sources and never see the target."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.methods.base import Batch, GradientMethod
from dazoo.nets.net import Net
from dazoo.ops.classwise import one_hot


class Generalising(GradientMethod):
    """Batches hold as many samples of each source, and none of the target."""

    handles = Handles(target="unseen", n_sources="many")
    uses_target = False
    even_sources = True


class AnySources(Generalising):
    """The same, where one source is enough."""

    handles = Handles(target="unseen", n_sources={"one", "many"})


def of_sources(net: Net, b: Batch) -> Tensor:
    """Which source every row is of (b, M), one-hot."""
    return one_hot(b.ds, net.n_sources, b.xs.dtype if b.xs.is_floating_point() else torch.float32)


def each_loss(net: Net, scores: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every row (b,), with the recipe's label smoothing."""
    return functional.cross_entropy(scores, y, reduction="none", label_smoothing=net.smooth)


def annealed(weight: float | Tensor, early: bool) -> float | Tensor:
    """``weight``, and at most 1 early in training."""
    return torch.as_tensor(weight).clamp(max=1.0) if early else weight


def partners(n: int, n_sources: int, draws: np.random.Generator) -> Tensor:
    """For each of ``n`` rows, which are of the sources in turns, a row of another source: a cyclic shift (n,).

    With one source it is another row.
    """
    shifts = np.arange(1, max(n, 2))
    other = shifts[shifts % n_sources != 0] if n_sources > 1 else shifts
    return (torch.arange(n) + int(draws.choice(other if len(other) else shifts))) % n


def by_place(b: Batch) -> Tensor:
    """The order (b,) of the rows by their places in the data, in which the order within a batch plays no part."""
    return b.s_rows.argsort()
