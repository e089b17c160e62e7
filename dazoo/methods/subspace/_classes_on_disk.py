"""Class means of all samples that stay on disk, for problems that need nothing else of them.

D D' = X M X' of ``_pencil.joint_factor`` is made of class sums and counts alone. With n_c samples of class c,
f_c = 1/n_c where both domains have the class and 0 elsewhere,

    D = [mean_s - mean_t, (f_c^s sum_c^s - f_c^t sum_c^t)_c] / ||E_s'E_s + E_t'E_t||_F^(1/2)
    (E'E)_00 = 1/n,   (E'E)_0c = f_c n_c / n,   (E'E)_cc = f_c^2 n_c
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.methods.on_disk import keep_moments
from dazoo.ops.linalg.blas import product
from dazoo.ops.running import running_moments


@dataclass(frozen=True)
class ClassSums:
    """``counts`` (C,) and ``sums`` (C, d) of the samples of every class."""

    counts: Tensor
    sums: Tensor


def labelled_sums(x: Blocks, y: Tensor, n_classes: int) -> ClassSums:
    """Of blocks (n, d) with labels ``y`` (n,); their moments are found in the same pass and remembered."""
    d, size = x.shape[1], x.per_block
    parts = zip(x.blocks(size), y.split(size))
    found = running_moments(torch.cat([b.to(torch.float64), _hot(t, n_classes)], 1) for b, t in parts)
    keep_moments(x, found.leading(d))
    shares = found.mean[d:]
    sums = found.scatter[d:, :d] + found.n * torch.outer(shares, found.mean[:d])
    return ClassSums((found.n * shares).round(), sums)


def predicted_sums(x: Blocks, label: Callable[[Tensor], Tensor], known: Tensor, n_classes: int) -> ClassSums:
    """Of blocks (n, d) under the labels that ``label`` gives them; the last samples have the labels ``known``."""
    counts, sums = (torch.zeros(n_classes, *more, dtype=torch.float64) for more in ((), (x.shape[1],)))
    at, free = 0, len(x) - len(known)
    for block in x.blocks():
        rows = block.to(torch.float64)
        labels = label(rows)
        own = slice(max(at, free) - free, max(at + len(rows), free) - free)
        labels[len(rows) - (own.stop - own.start) :] = known[own]
        hot = _hot(labels, n_classes)
        counts += hot.sum(0)
        sums += product(hot.T, rows)
        at += len(rows)
    return ClassSums(counts, sums)


def joint_factor_of(s: ClassSums, t: ClassSums | None, gap: Tensor, n_t: int) -> Tensor:
    """D (d, 1 + C) of ``joint_factor`` at weights of 1; without ``t``, the target's, of the means of the domains alone.

    ``gap``: mean_s - mean_t (d,); ``n_t``: number of target samples.
    """
    n_s = float(s.counts.sum())
    if t is None:
        return gap[:, None] / (1 / n_s + 1 / n_t) ** 0.5
    both = (s.counts > 0) & (t.counts > 0)
    f_s, f_t = (torch.where(both, 1 / v.counts.clamp(min=1), torch.zeros_like(v.counts)) for v in (s, t))
    inner = torch.zeros(len(both) + 1, len(both) + 1, dtype=torch.float64)
    for v, f, n in ((s, f_s, n_s), (t, f_t, float(n_t))):
        inner[0, 0] += 1 / n
        inner[0, 1:] += f * v.counts / n
        inner[1:, 0] += f * v.counts / n
        inner.diagonal()[1:] += f * f * v.counts
    return torch.cat([gap[:, None], (f_s[:, None] * s.sums - f_t[:, None] * t.sums).T], 1) / inner.norm().sqrt()


def _hot(y: Tensor, n_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(y.to(torch.int64), n_classes).to(torch.float64)
