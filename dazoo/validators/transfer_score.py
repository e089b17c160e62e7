"""Transfer score: evenly spread class weights, features that cluster, confident and diverse predictions.

    V = H + (H(mean_i p_i) - mean_i H(p_i)) / log C - U,
    U = (1/(C (C - 1))) sum_{a != b} (theta_ab - arccos(-1/(C - 1)))^2,    H = sum_i u_i / (sum_i u_i + sum_i w_i)

theta_ab is the angle between the classifier's weight vectors of classes a and b, which are spread evenly over a simplex
where U = 0. H is Hopkins' statistic: u_i is the distance of a point drawn uniformly from the features' bounding box to
its nearest target feature, w_i that of a target feature to its nearest neighbour; 1/2 for uniform features, towards 1
for clusters. Yang, Qian, Xu, Wang, Xie: Can We Evaluate Domain Adaptation Models Without Target-Domain Labels? ICLR
2024. https://openreview.net/forum?id=fszrlQ2DuP

U is the squared form of the authors' code. Undefined for models without a linear classifier on their features.
Deviations: 5 % of the samples, but at least 20 and at most 1,000, are drawn for H, by a fixed seed; distances are
computed in single precision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dazoo.validators.base import register_validator

SHARE, FEWEST, MOST = 0.05, 20, 1000
CELLS = 1 << 24


@register_validator(cost="costly", labels=("closed",))
def transfer_score(target_features: Tensor, target_probs: Tensor, head: Tensor, n_classes: int) -> float | None:
    """Hopkins statistic of target features plus scaled mutual information minus unevenness of the classifier."""
    if n_classes < 2 or len(target_features) < 3:
        return None
    mean = target_probs.mean(0)
    diversity = -torch.special.xlogy(mean, mean).sum()
    entropy = -torch.special.xlogy(target_probs, target_probs).sum(1).mean()
    information = float(diversity - entropy) / math.log(n_classes)
    return hopkins(target_features) + information - unevenness(head)


def unevenness(head: Tensor) -> float:
    """Mean squared deviation of the angles between class weights (C, d) from those of a simplex."""
    c = len(head)
    unit = torch.nn.functional.normalize(head, dim=1)
    a, b = torch.triu_indices(c, c, offset=1)
    theta = torch.arccos((unit[a] * unit[b]).sum(1).clamp(-1, 1))
    return float((theta - math.acos(-1 / (c - 1))).square().mean())


def hopkins(f: Tensor) -> float:
    """Hopkins' statistic of rows (n, d), in [0, 1]; 0 where all rows are equal."""
    f = f.float()
    n, d = f.shape
    m = min(n, max(FEWEST, min(MOST, int(SHARE * n))))
    g = torch.Generator().manual_seed(0)
    low, high = f.min(0).values, f.max(0).values
    u = nearest_distance(low + (high - low) * torch.rand(m, d, generator=g), f).sum()
    rows = torch.randperm(n, generator=g)[:m]
    w = nearest_distance(f[rows], f, rows).sum()
    return float(u / (u + w)) if bool(u + w > 0) else 0.0


def nearest_distance(x: Tensor, f: Tensor, own: Tensor | None = None) -> Tensor:
    """Distance of each row of x (m, d) to its nearest row of f (n, d); ``own`` (m,) are rows of f that do not count."""
    norms = f.square().sum(1)
    found = []
    size = max(1, CELLS // len(f))
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        s = norms - 2 * rows @ f.T
        if own is not None:
            s[torch.arange(len(rows)), own[start : start + size]] = torch.inf
        # the difference itself: norms cancel badly for neighbours far from the origin
        found.append((rows - f[s.argmin(1)]).square().sum(1).sqrt())
    return torch.cat(found)
