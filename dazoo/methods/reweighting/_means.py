"""Kernel mean embeddings of both domains: exact Gram matrices, or Nystroem features where those would be too large."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks, some_of
from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.reweighting._qp import Quadratic
from dazoo.methods.reweighting._ratio import median_sigma
from dazoo.methods.shallow import pair, source_inner
from dazoo.ops.linalg.blas import eigh, product
from dazoo.ops.linalg.linear import Inner, distances_between, distances_within, rows_per_block


@dataclass(frozen=True)
class Embedding:
    """The source's kernel matrix K (n_s, n_s) as a ``Quadratic``; ``mean`` (n_s,) is (1/n_t) sum_j k(x_s,i, x_t,j)."""

    kernel: Quadratic
    mean: Tensor


def embed(seen: Seen, ctx: Context, scale: float, limit: int, landmarks: int) -> Embedding:
    """Gaussian kernel of width ``scale`` times the median distance.

    Up to ``limit`` source samples the matrix is exact. Beyond, samples are mapped to ``landmarks`` Nystroem features
    around random samples of both domains, for the matrix and the mean alike, and a warning is recorded.
    """
    xs, xt = pair(seen)
    gamma = 1 / (2 * (scale * median_sigma(seen, ctx)) ** 2)
    offset = some_of(xt).to(xs).mean(0) if isinstance(xt, Blocks) else xt.mean(0)
    xs, xt = xs - offset, xt - offset
    if len(xs) <= limit:
        return ctx.memo(("embedding", scale), lambda: _exact(xs, xt, gamma, source_inner(seen, ctx)))
    ctx.warn(
        f"{len(xs)} source samples are more than {limit}: the kernel is approximated by {landmarks} Nystroem features"
    )
    half = max(landmarks // 2, 1)
    rows = [torch.randperm(len(x), generator=ctx.gen)[:half].to(xs.device) for x in (xs, xt)]
    at = torch.cat([xs[rows[0]], xt[rows[1]]])
    values, vectors = eigh(_gauss(at, at, gamma))
    keep = values > values[-1] * 1e-10
    root = vectors[:, keep] / values[keep].sqrt()
    zs, total = _features(xs, at, gamma, root), torch.zeros(int(keep.sum()), dtype=xs.dtype, device=xs.device)
    size = rows_per_block(len(at))
    for i in range(0, len(xt), size):
        total += product(_gauss(xt[i : i + size], at, gamma).sum(0)[None], root)[0]
    return Embedding(Quadratic(factor=zs), zs @ (total / len(xt)))


def _exact(xs: Tensor, xt: Tensor, gamma: Tensor, known: Inner | None) -> Embedding:
    if isinstance(xt, Blocks):
        parts = (_gauss(xs, part, gamma).sum(1) for part in xt.blocks(rows_per_block(len(xs))))
        mean = torch.stack(list(parts)).sum(0) / len(xt)
    else:
        size = rows_per_block(len(xt))
        mean = torch.cat([_gauss(xs[i : i + size], xt, gamma).mean(1) for i in range(0, len(xs), size)])
    within = distances_between(xs, xs) if known is None else distances_within(known.gram.clone())
    return Embedding(Quadratic(dense=within.mul_(-gamma).exp_()), mean)


def _features(x: Tensor, at: Tensor, gamma: Tensor, root: Tensor) -> Tensor:
    size = rows_per_block(len(at))
    return torch.cat([product(_gauss(x[i : i + size], at, gamma), root) for i in range(0, len(x), size)])


def _gauss(x: Tensor, y: Tensor, gamma: Tensor) -> Tensor:
    return distances_between(x, y).mul_(-gamma).exp_()
