"""What methods for several sources share: batches with as many samples of each, losses, heads, discriminators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from dazoo.core.handles import Handles
from dazoo.methods.base import GradientMethod, Look
from dazoo.nets.net import Net
from dazoo.nets.parts.common import mlp
from dazoo.ops.batches import even_groups
from dazoo.ops.classwise import class_means, one_hot
from dazoo.ops.reversal import reverse_gradient


class BySource(GradientMethod):
    """Base of methods that see as many samples of each source in a batch."""

    handles: ClassVar[Handles] = Handles(n_sources="many")
    neutral: ClassVar[None] = None  # even batches are other batches than source_only's

    def refresh(self, net: Net, look: Look) -> dict[str, Tensor]:
        return {"domain": look.domain}

    def redraw(
        self, rows: Mapping[str, Tensor], ys: Tensor, memory: Mapping[str, Tensor], gen: Generator
    ) -> Mapping[str, Tensor]:
        return even_groups(rows, memory["domain"], gen)


def sources_of(net: Net, ds: Tensor, like: Tensor) -> Tensor:
    """One-hot sources (n, N) of rows ``ds`` (n,)."""
    return one_hot(ds, net.n_sources, like.dtype)


def mean_by_source(rows: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Means (N,) of ``rows`` (n,) per source, and which sources are there (N,) of 0 and 1."""
    means, there = class_means(rows[:, None], w)
    return means[:, 0], there


def losses_by_row(net: Net, scores: Tensor, y: Tensor) -> Tensor:
    """``Net.criterion`` of each row (n,)."""
    if net.regression:
        return (scores.squeeze(1) - y).square()
    return functional.cross_entropy(scores, y, reduction="none", label_smoothing=net.smooth)


def discriminators(net: Net, disc_width: int) -> nn.ModuleList:
    """A discriminator for each source, width -> disc_width -> disc_width -> 1 logit for "of this source"."""
    width = net.body.width
    return nn.ModuleList(mlp(width, disc_width, disc_width, 1) for _ in range(net.n_sources))


def games(net: Net, fs: Tensor, ft: Tensor, w: Tensor, strength: float | Tensor) -> Tensor:
    """What the discriminators ``net.discs`` lose (N,), with the gradient to the features reversed.

    h_k = mean over rows of source k of -log D_k(f) + mean over target rows of -log(1 - D_k(f))
    """
    f = reverse_gradient(torch.cat([fs, ft]), strength)
    z = torch.stack([disc(f).squeeze(-1) for disc in net.discs])
    zs, zt = z[:, : len(fs)], z[:, len(fs) :]
    share = w / w.sum(0).clamp_min(1.0)
    return (share.T * functional.softplus(-zs)).sum(1) + functional.softplus(zt).mean(1)


def own_heads(net: Net) -> nn.ModuleList:
    """A classifier for each source, as the shared one, which then rests."""
    net.head.requires_grad_(False)
    return nn.ModuleList(nn.Linear(net.head.in_features, net.head.out_features) for _ in range(net.n_sources))


def own_scores(heads: nn.ModuleList, f: Tensor, w: Tensor) -> Tensor:
    """Scores (n, C) of rows f (n, d), each by the head of its source."""
    return torch.einsum("ns,snc->nc", w, torch.stack([head(f) for head in heads]))


def mean_of_heads(net: Net, heads: Iterable[nn.Module], f: Tensor) -> Tensor:
    """Scores (n, C) of the mean probabilities of several classifiers on features f (n, d), or the mean values."""
    scores = torch.stack([head(f) for head in heads])
    if net.regression:
        return scores.mean(0)
    return scores.softmax(-1).mean(0).clamp_min(1e-30).log()
