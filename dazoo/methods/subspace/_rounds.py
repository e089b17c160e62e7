"""The loop that JDA and its relatives share: project, label the target, build the next problem from those labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dazoo.core.types import Seen
from dazoo.methods.base import Context
from dazoo.methods.shallow import fit_classifier, source_of
from dazoo.shallow.steps import Head


def label_target(seen: Seen, ctx: Context, zs: Tensor, zt: Tensor) -> Tensor:
    """Labels (n_t,) of all visible target samples: the classifier's for the unlabelled, their own for the few."""
    head, n = target_head(seen, ctx, zs, zt), len(seen.target)
    if seen.few is None:
        return head(zt).argmax(dim=1)
    return torch.cat([head(zt[:n]).argmax(dim=1), seen.few.y.to(source_of(seen).y)])


def target_head(seen: Seen, ctx: Context, zs: Tensor, zt: Tensor) -> Head:
    """The classifier of projected samples, from the source and the few labelled target samples, which come last."""
    y = source_of(seen).y
    if seen.few is None:
        return fit_classifier(seen, ctx, zs, y)
    few = zt[len(seen.target) :]
    return fit_classifier(seen, ctx, torch.cat([zs, few]), torch.cat([y, seen.few.y.to(y)]))


def alternate(
    seen: Seen,
    ctx: Context,
    rounds: int,
    solve: Callable[[Tensor | None], Tensor],
    project: Callable[[Tensor], tuple[Tensor, Tensor]],
    first: Tensor | None = None,
) -> Tensor:
    """``rounds`` times: ``solve(labels)`` for vectors, project both domains, label the target anew.

    ``first`` are the labels of the first round (None: it has none). Stops early where the labels stop changing, since
    all later rounds would be the same.

    Returns:
        the vectors of the last round.
    """
    labels = first
    vectors = torch.empty(0)
    for i in range(max(rounds, 1)):
        vectors = solve(labels)
        if i + 1 == rounds:
            break
        now = label_target(seen, ctx, *project(vectors))
        if labels is not None and torch.equal(now, labels):
            break
        labels = now
    return vectors
