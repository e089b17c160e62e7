"""Several targets at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from dazoo.core.errors import DazooError
from dazoo.data.domain import Domain
from dazoo.data.raw import joined


def pooled(domains: Sequence[Domain]) -> Domain:
    """The samples of all domains as one, whose ``member`` says of which each is; one domain is itself.

    Raises:
        DazooError: domains that differ in shape or classes, or of which only some have labels or test parts.
    """
    if len(domains) == 1:
        return domains[0]
    first, name = domains[0], "+".join(d.name for d in domains)
    for other in domains[1:]:
        if other.x.shape[1:] != first.x.shape[1:] or other.classes != first.classes or other.kind != first.kind:
            raise DazooError(
                f"the targets {first.name!r} and {other.name!r} differ in shape or classes; pool like with like"
            )
    parts = [d.test for d in domains if d.test is not None]
    if parts and len(parts) < len(domains):
        raise DazooError(
            f"some of the targets {name} have test parts of their own, and some have not; give all of them one"
        )
    labelled = [
        torch.ones(len(d), dtype=torch.bool) if d.known is None else d.known for d in domains if d.y is not None
    ]
    if labelled and len(labelled) < len(domains):
        raise DazooError(f"some of the targets {name} have labels and some have none; take them one by one")
    starts = torch.tensor([0, *(len(d) for d in domains)]).cumsum(0).tolist()
    few = [d.few + start for d, start in zip(domains, starts) if d.few is not None]
    return replace(
        first,
        name=name,
        x=joined([d.x for d in domains]),
        y=None if first.y is None else torch.cat([d.y for d in domains if d.y is not None]),
        test=pooled(parts) if parts else None,
        known=torch.cat(labelled) if any(d.known is not None for d in domains) else None,
        few=torch.cat(few) if few else None,
        member=torch.cat([torch.full((len(d),), i) for i, d in enumerate(domains)]),
    )
