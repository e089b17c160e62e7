"""Answers for the whole target at once: samples on the unit sphere, and who is near whom."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.types import Seen
from dazoo.methods.shallow import pair
from dazoo.shallow.steps import Center, NearestScores, Pipeline, Step, UnitNorm, nearest_rows, run_steps


def spheres(seen: Seen, centre: bool) -> tuple[tuple[Step, ...], tuple[Step, ...], Tensor, Tensor]:
    """Steps of source and target to unit norm, after each domain's mean where ``centre``, and what they make of the
    samples: (n_s, d), (n_t, d)."""
    xs, xt = pair(seen)
    to_source, to_target = (((Center(x.mean(0)),) if centre else ()) + (UnitNorm(),) for x in (xs, xt))
    return to_source, to_target, run_steps(to_source, xs), run_steps(to_target, xt)


class Near:
    """The graph of the ``k`` nearest neighbours of unit samples z (n, d), never formed as a matrix: w_ij is the cosine
    of i and j, or 1 where ``equal``, if j is one of i's neighbours, else 0."""

    def __init__(self, z: Tensor, k: int, equal: bool = False):
        k = min(k, len(z) - 1)
        self.rows = _others(nearest_rows(z, z, k + 1), k)
        cosines = torch.einsum("nd,nkd->nk", z, z[self.rows])
        self.values = torch.ones_like(cosines) if equal else cosines

    def of(self, f: Tensor) -> Tensor:
        """W f (n, C)."""
        return torch.einsum("nk,nkc->nc", self.values, f[self.rows])

    def back(self, f: Tensor) -> Tensor:
        """W' f (n, C)."""
        n, k = self.rows.shape
        sent = (self.values[:, :, None] * f[:, None]).reshape(n * k, -1)
        return torch.zeros_like(f).index_add_(0, self.rows.flatten(), sent)


def _others(rows: Tensor, k: int) -> Tensor:
    """The first ``k`` of the rows (n, k + 1) nearest to each sample that are not the sample itself."""
    own = rows == torch.arange(len(rows), device=rows.device)[:, None]
    own[:, -1] |= ~own.any(1)  # where more than k others are at the same place, the last one goes
    return rows[~own].reshape(len(rows), -1)[:, :k]


def answered(steps: tuple[tuple[Step, ...], tuple[Step, ...]], zt: Tensor, p: Tensor) -> Pipeline:
    """The probabilities ``p`` (n_t, C) of the target's samples ``zt`` (n_t, d); new samples take the nearest one's."""
    return Pipeline(steps[1], steps[0], NearestScores(zt, torch.log(p + 1e-12)))
