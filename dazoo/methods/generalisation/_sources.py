"""What methods have in common that learn from several labelled sources and never see the target."""

from __future__ import annotations

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


def annealed(trade_off: float | Tensor, early: bool) -> tuple[Tensor, Tensor]:
    """Weights of the classification loss and of a penalty: 1 and at most 1 early in training, then 1 and ``trade_off``,
    both divided by ``trade_off`` where that is above 1, so that gradients keep their size."""
    weight = torch.as_tensor(trade_off)
    whole = weight.clamp(min=1.0)
    return (torch.ones_like(weight), weight.clamp(max=1.0)) if early else (1.0 / whole, weight / whole)


def by_place(b: Batch) -> Tensor:
    """The order (b,) of the rows by their places in the data, in which the order within a batch plays no part."""
    return b.s_rows.argsort()
