"""Class means of the source, and the contrast of a batch with the nearest of them: parts of RMT and SANTA."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dazoo.methods.base import StreamMethod
from dazoo.nets.parts.norm_mode import norms_under
from dazoo.ops.classwise import class_means, one_hot, supervised_contrastive


def source_prototypes(method: StreamMethod, net: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean features (classes that occur, width) of the source's classes, under the method's normalisation."""
    found = []
    with torch.no_grad():
        for x, y in batches:
            with norms_under(net, method.norm(len(x)), len(x)):
                features = net.body(x)
            found.append((features, one_hot(y, net.head.out_features, features.dtype)))
    means, occurs = class_means(*(torch.cat(part) for part in zip(*found)))
    return means[occurs > 0]


def prototype_contrast(net: Any, prototypes: Tensor, features: Tensor, viewed: Tensor, temperature: float) -> Tensor:
    """Contrast of projected triples: nearest prototype by cosine, features and those of a view, (n, width) each."""
    near = (normalize(features.detach(), dim=-1) @ normalize(prototypes, dim=-1).T).argmax(-1)
    three = net.projector(torch.cat([prototypes[near], features, viewed]))
    triples = torch.eye(len(features), dtype=three.dtype, device=three.device).repeat(3, 1)
    return supervised_contrastive(three, triples, temperature)
