"""MixVal: mixed target samples should be given the label of the sample they hold more of.

    x~ = lam x_i + (1 - lam) x_j,    ICE(pairs) = share of pairs with argmax_c f(x~)_c = y_i,    y = argmax_c f(x)_c,
    V = (ICE(intra) + ICE(inter)) / 2,    lam = 0.55

The intra-cluster pairs have y_i = y_j and probe the density of a predicted class, the inter-cluster pairs y_i != y_j
and probe the boundary between two. Hu et al.: Mixed Samples as Probes for Unsupervised Model Selection in Domain
Adaptation. NeurIPS 2023. https://openreview.net/forum?id=ackajXqei2

Deviations: the paper averages the ranks of both shares among the models to choose from, this the shares themselves, so
that a score belongs to one model; each sample has one partner of each kind, drawn by a fixed seed; mixed bytes are
rounded; a model that predicts one class has no inter-cluster pair and no score. Needs the model: runs of which features
were kept have no score, since a linear classifier on mixed features says no more than its scores, mixed, do.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.validators.base import register_validator

LAM = 0.55
ROWS = 4096


@register_validator(cost="costly")
def mixval(target_inputs: Tensor, target_probs: Tensor, predict: Callable[[Tensor], Tensor]) -> float | None:
    """Share of mixed target samples that keep the label of their larger part, within and between predicted classes."""
    labels = target_probs.argmax(1)
    within, partner = intra_pairs(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    between = torch.nonzero(labels != labels[order])[:, 0]
    if not len(within) or not len(between):
        return None
    intra = consistency(predict, target_inputs, labels, within, partner)
    inter = consistency(predict, target_inputs, labels, between, order[between])
    return (intra + inter) / 2


def intra_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and their partners: the next of a random cyclic order of all samples with the same label."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    rows, partners = [], []
    for label in torch.unique(labels):
        members = order[labels[order] == label]
        if len(members) > 1:
            rows.append(members)
            partners.append(members.roll(-1))
    empty = torch.empty(0, dtype=torch.int64)
    return torch.cat([empty, *rows]), torch.cat([empty, *partners])


def consistency(predict: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor, i: Tensor, j: Tensor) -> float:
    """Share of pairs (i, j) whose mixed sample is given the label of i."""
    right = 0
    for start in range(0, len(i), ROWS):
        a, b = i[start : start + ROWS], j[start : start + ROWS]
        first, second = x[a.to(x.device)], x[b.to(x.device)]
        if x.is_floating_point():
            mixed = LAM * first + (1 - LAM) * second
        else:
            mixed = (LAM * first.float() + (1 - LAM) * second.float()).round().to(x.dtype)
        right += int((predict(mixed).argmax(1) == labels[a]).sum())
    return right / len(i)
