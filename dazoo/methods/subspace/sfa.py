"""SFA: spectral feature alignment. Pan, Ni, Sun, Yang and Chen, WWW 2010.

Features that occur alike in both domains (independent of the domain) serve as a bridge. Domain-specific features that
occur together with the same bridge features are put into the same clusters:

    M_ij = number of samples in which specific feature i and bridge feature j occur together        (d - l, l)
    D_1^(-1/2) M D_2^(-1/2) = U diag(s) V',      z = [x, gamma x_specific U_k]

Bridge features are the l with the least mutual information with the domain among the more frequent half. A feature
occurs where it is positive (non-negative data), or above its mean. The added features are scaled to the mean norm of x.

Evidence: tests/test_subspace_more.py::test_sfa_joins_features_that_occur_with_the_same_bridge,
test_mutual_information_agrees_with_scikit_learn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.ops.linalg.linear import fix_signs
from dazoo.shallow.steps import Affine, Append


@register
class SFA(FeatureMap):
    """Spectral feature alignment."""

    paper = Paper(
        title="Cross-Domain Sentiment Classification via Spectral Feature Alignment",
        authors="Sinno Jialin Pan, Xiaochuan Ni, Jian-Tao Sun, Qiang Yang, Zheng Chen", year=2010,
        url="https://doi.org/10.1145/1772690.1772767", venue="WWW",
        deviations="more frequent is the upper half by the smaller of the two domains' counts; no gain at the "
        "defaults on dense features: it is for counts of words, many of them the same in both domains",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})
    targets = frozenset({"classes", "values"})

    bridge: int = hp(500, 2, 1000, log=True, help="number of bridge features; at most half of all features")
    dim: int = hp(100, 1, 200, log=True, help="number of clusters")
    gamma: float = hp(0.6, 0.1, 2.0, help="size of the added features against the original ones")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Cluster the specific features."""
        xs, xt = pair(seen)
        both = torch.cat([xs, xt])
        level = torch.zeros_like(both[0]) if bool((both >= 0).all()) else both.mean(0)
        u = clusters((xs > level).to(both), (xt > level).to(both), min(self.bridge, max(1, xs.shape[1] // 2)), self.dim)
        size = (both @ u).norm(dim=1).mean()
        u = u * (self.gamma * both.norm(dim=1).mean() / torch.where(size > 0, size, torch.ones_like(size)))
        step = Append((Affine(u),))
        return Aligned(step(xs), (step,))


def mutual_information(os: Tensor, ot: Tensor) -> Tensor:
    """Mutual information (d,) in nats of "feature occurs" and the domain; occurrences (n_s, d), (n_t, d) in {0, 1}."""
    n = len(os) + len(ot)
    total = os.new_zeros(os.shape[1])
    occurs = (os.sum(0) + ot.sum(0)) / n
    for part in (os, ot):
        share = len(part) / n
        for joint, marginal in ((part.sum(0) / n, occurs), ((1 - part).sum(0) / n, 1 - occurs)):
            ratio = torch.where(joint > 0, joint / (share * marginal).clamp(min=1e-300), torch.ones_like(joint))
            total = total + joint * ratio.log()
    return total


def clusters(os: Tensor, ot: Tensor, bridge: int, k: int) -> Tensor:
    """U (d, k) of the specific features, zero rows at the bridge."""
    d = os.shape[1]
    counts = torch.minimum(os.sum(0), ot.sum(0))
    rare = torch.ones(d, dtype=torch.bool, device=os.device)
    rare[counts.argsort(descending=True, stable=True)[: max(bridge, (d + 1) // 2)]] = False
    rank = mutual_information(os, ot) + 10.0 * rare  # the mutual information of two binary variables is below log 2
    chosen = rank.argsort(stable=True)[:bridge]
    specific = torch.ones(d, dtype=torch.bool, device=os.device)
    specific[chosen] = False
    both = torch.cat([os, ot])
    m = both[:, specific].T @ both[:, chosen]
    rows, cols = m.sum(1), m.sum(0)
    scaled = m * rows.clamp(min=1).rsqrt()[:, None] * cols.clamp(min=1).rsqrt()
    left = torch.linalg.svd(scaled, full_matrices=False).U[:, :k]
    u = torch.zeros(d, left.shape[1], dtype=os.dtype, device=os.device)
    u[specific] = fix_signs(left)
    return u
