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
        DazooError: domains that differ in shape, classes or in what is known of their labels.
    """
    if len(domains) == 1:
        return domains[0]
    first, name = domains[0], "+".join(d.name for d in domains)
    for other in domains[1:]:
        if other.x.shape[1:] != first.x.shape[1:] or other.classes != first.classes or other.kind != first.kind:
            raise DazooError(
                f"the targets {first.name!r} and {other.name!r} differ in shape or classes; pool like with like"
            )
    if any(d.known is not None or d.few is not None or (d.y is None) != (first.y is None) for d in domains):
        raise DazooError(
            f"the targets {name} are labelled in part, which several targets cannot be; take them one by one"
        )
    if any(d.test is not None for d in domains):
        raise DazooError(f"the targets {name} have test parts of their own, which several targets cannot have")
    return replace(
        first,
        name=name,
        x=joined([d.x for d in domains]),
        y=None if first.y is None else torch.cat([d.y for d in domains if d.y is not None]),
        member=torch.cat([torch.full((len(d),), i) for i, d in enumerate(domains)]),
    )
