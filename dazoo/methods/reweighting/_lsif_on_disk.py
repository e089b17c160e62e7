"""Least-squares density ratios of samples on disk: H, h and the weights are sums over blocks, so the ratio is that of
all samples: one pass of both domains for H and h at every width, one of the source for the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.reweighting._lsif import LAMBDAS, solve
from dazoo.methods.reweighting._ratio import GRID, centres, median_sigma
from dazoo.methods.shallow import pair
from dazoo.ops.linalg.blas import product
from dazoo.ops.linalg.linear import distances_between, second_moment

Scores = Callable[[Tensor, Tensor, Tensor, Tensor, int, int, tuple[float, ...]], list[float]]


def ratio_on_disk(seen: Seen, count: int, ctx: Context, pairs: int, scores: Scores) -> Tensor:
    """The fitted ratio (n_s,) at the source samples.

    Args:
        count: number of kernels, at random target samples.
        pairs: how many pairs of samples the leave-one-out score is a mean over.
        scores: the leave-one-out score of every ridge, from sums and the kernels of these pairs.
    """
    xs, xt = pair(seen)
    middle = median_sigma(seen, ctx)
    sigmas = [middle * g for g in GRID]
    at = centres(xt, count, ctx).to(torch.float64)
    offset = at.mean(0)

    def distances(x: Tensor) -> Tensor:
        return distances_between(x.to(torch.float64) - offset, at - offset)

    def bumps(d: Tensor, sigma: Tensor) -> Tensor:
        return torch.exp(d / (-2 * sigma**2))

    second, mean = (torch.zeros(len(sigmas), len(at), *more, dtype=torch.float64) for more in ((len(at),), ()))
    for block in xs.blocks():  # type: ignore[attr-defined]
        d = distances(block)
        for total, sigma in zip(second, sigmas):
            total += second_moment(bumps(d, sigma))
    for block in xt.blocks():  # type: ignore[attr-defined]
        d = distances(block)
        for total, sigma in zip(mean, sigmas):
            total += bumps(d, sigma).sum(0) / len(xt)
    n = min(len(xs), len(xt), pairs)
    out_s, out_t = (distances(x[torch.arange(n) * len(x) // n]) for x in (xs, xt))
    best: tuple[float, int, float] | None = None
    for k, sigma in enumerate(sigmas):
        found = scores(second[k], mean[k], bumps(out_s, sigma), bumps(out_t, sigma), len(xs), len(xt), LAMBDAS)
        for lam, score in zip(LAMBDAS, found):
            if best is None or score < best[0]:
                best = (score, k, lam)
    assert best is not None
    _, k, lam = best
    a = solve(second[k] / len(xs), mean[k], lam)[:, None]
    return torch.cat([product(bumps(distances(b), sigmas[k]), a)[:, 0] for b in xs.blocks()])  # type: ignore[attr-defined]
