"""ITL: information-theoretic learning of a metric. Shi and Sha, ICML 2012.

A linear map L (d, k) under which the target falls into clear, balanced classes and the domains cannot be told apart:

    max_L  I_t(x; y^) - lam I_st(x; q)
    I_t  = H( mean_j p_j ) - mean_j H( p_j ),      p_j (C,): the source labels of target sample j's soft neighbours
    I_st = H( mean_i q_i ) - mean_i H( q_i ),      q_i (2,): the domains of sample i's soft neighbours, itself left out

with neighbour weights exp(-||z_i - z_j||^2) normalised over j, z = x L, and H the entropy in nats. Adam from the
leading principal directions, scaled so that the median squared distance of samples is 2 k / 3.

Evidence: tests/test_subspace_walks.py::test_itl_objective_equals_its_sums,
test_itl_ignores_the_direction_that_tells_domains.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, components, pair, source_of
from dazoo.methods.subspace._descent import ascend, projected, thinned
from dazoo.ops.classwise import one_hot
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import distances_between, median_gamma
from dazoo.shallow.steps import Affine


@register
class ITL(FeatureMap):
    """Information-theoretic learning of a metric."""

    paper = Paper(
        title="Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain Adaptation",
        authors="Yuan Shi, Fei Sha", year=2012, url="https://arxiv.org/abs/1206.6438", venue="ICML",
        deviations="Adam instead of conjugate gradients; at most limit samples per domain, evenly spaced, enter the "
        "criterion; the scale of L is free instead of its trace being fixed",
    )  # fmt: skip
    handles = Handles(marked={"none", "few"})

    dim: int = hp(20, 3, 100, log=True, help="dimensions of the common space")
    lam: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the domains' separability")
    iterations: int = hp(50, 10, 200, log=True, help="steps of Adam")
    limit: int = hp(500, help="samples per domain in the criterion")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Climb the criterion."""
        xs, xt = pair(seen)
        rows = thinned(len(xs), self.limit, xs.device)
        few_s, few_t = xs[rows], xt[thinned(len(xt), self.limit, xt.device)]
        labels = one_hot(source_of(seen).y[rows], seen.n_classes, torch.float64)
        mean, _, directions = components(seen, ctx, "st", self.dim)
        few = torch.cat([few_s, few_t])
        spread = median_gamma(few @ directions)
        start = directions * (spread * 2 * directions.shape[1] / 3).sqrt()

        def criterion(x: Tensor) -> Tensor:
            zs, zt = projected(few, x).split([len(few_s), len(few_t)])
            return target_information(zs, zt, labels) - self.lam * domain_information(zs, zt)

        found = ascend(criterion, start, self.iterations)
        step = Affine(found, -mean @ found)
        return Aligned(step(xs), (step,))


def nats(p: Tensor) -> Tensor:
    """-sum p log p over the last axis, in nats."""
    return -(p * p.clamp(min=1e-300).log()).sum(-1)


def information(p: Tensor) -> Tensor:
    """H(mean p) - mean H(p) of distributions (n, C)."""
    return nats(p.mean(0)) - nats(p).mean()


def slope(p: Tensor) -> Tensor:
    """d / dp of ``information`` (n, C), for distributions ``p`` whose entries may move freely."""
    logs = p.clamp(min=1e-300).log()
    return (logs - p.mean(0).clamp(min=1e-300).log()) / len(p)


def target_information(zs: Tensor, zt: Tensor, labels: Tensor) -> Tensor:
    """I_t with source labels (n_s, C), with its gradient in closed form."""
    found: Tensor = _Target.apply(zs, zt, labels)  # type: ignore[no-untyped-call]
    return found


def domain_information(zs: Tensor, zt: Tensor) -> Tensor:
    """I_st, with its gradient in closed form."""
    found: Tensor = _Domain.apply(torch.cat([zs, zt]), len(zs))  # type: ignore[no-untyped-call]
    return found


class _Target(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, zs: Tensor, zt: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        zs, zt = zs.detach(), zt.detach()
        near = torch.softmax(distances_between(zt, zs).neg_(), dim=1)
        p = product(near, labels)
        ctx.save_for_backward(zs, zt, labels, near, p)
        return information(p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        zs, zt, labels, near, p = ctx.saved_tensors
        by_class = slope(p)
        # with respect to -D, through the softmax
        pull = product(by_class, labels.T).sub_((by_class * p).sum(1)[:, None]).mul_(near)
        scale = -2 * grad
        return (
            scale * (zs * pull.sum(0)[:, None] - product(pull.T, zt)),
            scale * (zt * pull.sum(1)[:, None] - product(pull, zs)),
            None,
        )


class _Domain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, n_s: int) -> Tensor:  # type: ignore[override]
        z = z.detach()
        near = torch.softmax(distances_between(z, z).neg_().fill_diagonal_(-torch.inf), dim=1)
        source = near[:, :n_s].sum(1)
        p = torch.stack([source, (1 - source).clamp(min=0)], dim=1)
        ctx.save_for_backward(z, near, p)
        ctx.n_s = n_s
        return information(p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        z, near, p = ctx.saved_tensors
        by_domain = slope(p)
        across = (by_domain[:, 0] - by_domain[:, 1])[:, None]
        # with respect to -D, through the softmax: of its entries in the source, and in the target
        pull = torch.empty_like(near)
        torch.mul(near[:, : ctx.n_s], across * p[:, 1:], out=pull[:, : ctx.n_s])
        torch.mul(near[:, ctx.n_s :], -across * p[:, :1], out=pull[:, ctx.n_s :])
        pull = pull + pull.T
        return -2 * grad * (z * pull.sum(1)[:, None] - product(pull, z)), None
