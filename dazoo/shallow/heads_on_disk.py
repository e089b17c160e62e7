"""Classifiers on features that stay on disk (``data.blocks``).

Ridge regression is a matter of moments: with those of [z, t] in one pass, t (k,) the target columns,

    w = (S_zz + alpha I)^-1 S_zt,    b = mean(t) - mean(z) w

is exactly what it is in memory. ``logistic`` and ``linear_svc`` start from their fit on a sample and go on by averaged
stochastic gradients (Polyak and Juditsky 1992; constant step 1 / (2 R^2), R^2 = E||z||^2, Bach and Moulines 2013) in
one pass of windows of random chunks; the average is taken where its loss on a window that was left out is lower. All
others are fitted on the sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.errors import DazooError
from dazoo.data.windows import Windows, windows_of
from dazoo.ops.linalg.blas import cholesky, cholesky_solve, product
from dazoo.ops.rows import drawn_rows, with_every_class
from dazoo.ops.running import running_moments
from dazoo.shallow.classifiers import FOR_CLASSES, FOR_VALUES, Classifier, checked_weights
from dazoo.shallow.steps import Head, LinearScores

BATCH = 256
WINDOW = 256 << 20  # bytes of a window
SGD = ("logistic", "linear_svc")


def fit_on_disk(
    chosen: Any,
    z: Blocks,
    y: Tensor,
    n_classes: int,
    weights: Tensor | None,
    gen: torch.Generator,
    warn: Callable[[str], None],
    sample: int,
) -> Head:
    """The classifier ``chosen`` fitted on blocks ``z`` (n, d) with labels ``y`` (n,); weights (n,) as in memory.

    Args:
        sample: how many rows are read where not all can be.
    """
    weights = checked_weights(weights, len(z))
    named = chosen.name if isinstance(chosen, Classifier) else ""
    _check(named, y, n_classes)
    if named == "ridge" or (not n_classes and named in ("ridge", "")):
        return _ridge(z, y, n_classes, weights, dict(chosen.options)["alpha"])
    rows = _sample(y, weights, sample, gen, n_classes)
    start: Head = chosen.fit(
        z.take(rows).to(torch.float64),
        y[rows],
        n_classes,
        None if weights is None else weights[rows],
        gen=gen,
        warn=warn,
    )
    if named not in SGD or not isinstance(start, LinearScores) or len(rows) == len(z):
        if len(rows) < len(z):
            warn(f"the classifier {named or 'given'} was fitted on {len(rows)} of {len(z)} samples, which stay on disk")
        return start
    warn(f"{named}: fitted on {len(rows)} samples, then by stochastic gradients in one pass over all {len(z)}")
    return _averaged(named, dict(chosen.options)["C"], start, z, y, weights, gen)


def _sample(y: Tensor, weights: Tensor | None, count: int, gen: torch.Generator, n_classes: int) -> Tensor:
    """Rows, ascending, of a sample of about ``count``, of every class at least one; none of weight 0."""
    able = torch.arange(len(y)) if weights is None else torch.nonzero(weights > 0)[:, 0]
    rows = drawn_rows(len(able), count, gen)
    return able[with_every_class(y[able], rows) if n_classes else rows]


def _check(named: str, y: Tensor, n_classes: int) -> None:
    if n_classes and len(torch.unique(y)) < 2:
        raise DazooError("the labelled samples hold one class only; a classifier needs at least two")
    if named and named not in (FOR_CLASSES if n_classes else FOR_VALUES):
        kind = "classes" if n_classes else "values"
        raise DazooError(
            f"{named} does not predict {kind}; use one of {', '.join(FOR_CLASSES if n_classes else FOR_VALUES)}"
        )


def _ridge(z: Blocks, y: Tensor, n_classes: int, weights: Tensor | None, alpha: float) -> LinearScores:
    """Ridge regression from the moments of features and target columns together."""
    classes = torch.unique(y) if n_classes else torch.zeros(1, dtype=torch.int64)

    def columns(part: Tensor) -> Tensor:
        return (
            2.0 * (part[:, None] == classes).to(torch.float64) - 1.0 if n_classes else part[:, None].to(torch.float64)
        )

    size = z.per_block
    both = (torch.cat([b.to(torch.float64), columns(t)], 1) for b, t in zip(z.blocks(size), y.split(size)))
    found = running_moments(both, None if weights is None else weights.split(size))
    d = z.shape[1]
    a = found.scatter[:d, :d].clone()
    a.diagonal().add_(alpha)
    w = cholesky_solve(cholesky(a), found.scatter[:d, d:].contiguous())
    return LinearScores(
        w, found.mean[d:] - found.mean[:d] @ w, classes, n_classes, "decision" if n_classes else "values"
    )


def _averaged(
    named: str, c: float, start: LinearScores, z: Blocks, y: Tensor, weights: Tensor | None, gen: torch.Generator
) -> LinearScores:
    """Averaged stochastic gradients from ``start``, in features that are centred and scaled by the first window."""
    n, d = z.shape
    seed = int(torch.randint(1 << 31, (1,), generator=gen))
    windows = windows_of(z, seed, 8 * d, max(BATCH, WINDOW // (8 * d)))
    held = _window(z, y, weights, windows, 0)
    mean, scale = held[0].mean(0), held[0].std(0).clamp(min=1e-12)
    radius = float(((held[0] - mean) / scale).square().sum(1).mean()) + 1
    rate = (1 if named == "logistic" else 0.25) / (2 * radius)
    w = start.weight * scale[:, None]
    b = start.bias + mean @ start.weight
    place = torch.full((int(y.max()) + 1,), -1, dtype=torch.int64)
    place[start.classes] = torch.arange(len(start.classes))
    total_w, total_b, steps = torch.zeros_like(w), torch.zeros_like(b), 0
    shrink = rate / (c * n) / scale.square()[:, None]  # of ||w||^2 / (2 C n) in the features as they were
    for k in range(1, windows.per_pass) if not windows.whole else [0]:
        x, t, v = held if windows.whole else _window(z, y, weights, windows, k)
        x = (x - mean) / scale
        for rows in torch.randperm(len(x), generator=gen).split(BATCH):
            part = x[rows]
            slope = _slope(named, product(part, w) + b, place[t[rows]])
            slope = slope / len(rows) if v is None else slope * (v[rows] / len(rows))[:, None]
            w = w - rate * product(part.T, slope) - shrink * w
            b = b - rate * slope.sum(0)
            steps += 1
            total_w += w
            total_b += b
    weight = total_w / max(steps, 1) / scale[:, None]
    found = LinearScores(weight, total_b / max(steps, 1) - mean @ weight, start.classes, start.n_classes, start.kind)
    x, t, v = held
    better = _loss(named, found, x, place[t], v) <= _loss(named, start, x, place[t], v)
    return found if better else start


def _window(
    z: Blocks, y: Tensor, weights: Tensor | None, windows: Windows, k: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    rows = windows.rows(k)
    return z.take(rows).to(torch.float64), y[rows], None if weights is None else weights[rows]


def _slope(named: str, scores: Tensor, t: Tensor) -> Tensor:
    """Derivative (n, k) of every sample's loss by its scores (n, k): cross-entropy, or squared hinges one against the
    rest, with the class ``t`` (n,)."""
    if named == "logistic":
        p = torch.softmax(scores, 1)
        p[torch.arange(len(t)), t] -= 1
        return p
    side = torch.full_like(scores, -1.0)
    side[torch.arange(len(t)), t] = 1.0
    return -2 * side * (1 - side * scores).clamp(min=0)


def _loss(named: str, head: LinearScores, x: Tensor, t: Tensor, weights: Tensor | None) -> float:
    scores = product(x, head.weight) + head.bias
    if named == "logistic":
        each = -torch.log_softmax(scores, 1)[torch.arange(len(t)), t]
    else:
        side = torch.full_like(scores, -1.0)
        side[torch.arange(len(t)), t] = 1.0
        each = (1 - side * scores).clamp(min=0).square().sum(1)
    return float(np.average(each.numpy(), weights=None if weights is None else weights.numpy()))
