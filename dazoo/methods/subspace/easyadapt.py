"""EasyAdapt (feature augmentation). Daumé III, ACL 2007.

With a few labelled target samples, every feature gets a shared, a source and a target version:

    source:  z = [x, x, 0],      target:  z = [x, 0, x]          (3 d)

so that one linear classifier learns what both domains share and what is particular to each.

Evidence: tests/test_subspace_pencils.py::test_easyadapt_kernel_counts_samples_of_one_domain_twice.
"""

from __future__ import annotations

import torch

from dazoo.core.handles import Handles
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, inner_of, source_of, source_x
from dazoo.ops.linalg.linear import Inner
from dazoo.shallow.steps import Copies


@register
class EasyAdapt(FeatureMap):
    """Feature augmentation."""

    paper = Paper(
        title="Frustratingly Easy Domain Adaptation", authors="Hal Daumé\u00a0III", year=2007,
        url="https://arxiv.org/abs/0907.1815", venue="ACL",
    )  # fmt: skip
    handles = Handles(marked="few")
    targets = frozenset({"classes", "values"})

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """Copy the features."""
        xs = source_x(seen)
        source, target = (Copies(torch.tensor(c), xs.shape[1]) for c in ((1, 1, 0), (1, 0, 1)))
        return Aligned(source(xs), (target,), (source,), known=lambda: copied_inner(seen, ctx))


def copied_inner(seen: Seen, ctx: Context) -> Inner | None:
    """Inner products of the copies, around [m, m, 0], from those of the labelled samples around the source's mean m."""
    plain = inner_of(seen, ctx)
    if plain is None:
        return None
    m, gram, n_s = plain.centre, plain.gram.clone(), len(source_of(seen))
    gram[:n_s, :n_s] *= 2
    if seen.few is not None:
        xs, few = source_x(seen), seen.few.x.flatten(1).to(m)
        across = (xs - m) @ m
        gram[:n_s, n_s:] -= across[:, None]
        gram[n_s:, :n_s] -= across
        gram[n_s:, n_s:] += m @ m + few @ few.T
    return Inner(torch.cat([m, m, torch.zeros_like(m)]), gram)
