"""What shallow methods are given: double precision, and regression targets in units that suit every method."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from dazoo.core.blocks import Blocks
from dazoo.core.memo import Domains
from dazoo.core.types import Labeled, Seen
from dazoo.engine.units import Units


def doubles(seen: Seen, device: torch.device, domains: Domains) -> Seen:
    """``seen`` in double precision on ``device``; a domain of several pairs is the same tensor in all of them, and what
    is on disk stays what it is."""

    def lift(x: Tensor) -> Tensor:
        if isinstance(x, Blocks) or (x.dtype is torch.float64 and x.device == device):
            return x
        return domains(x, ("float64", str(device)), lambda: x.to(device=device, dtype=torch.float64))

    def lift_part(part: Labeled | None) -> Labeled | None:
        if part is None:
            return None
        y = lift(part.y) if part.y.is_floating_point() else part.y.to(device)
        return Labeled(lift(part.x), y, part.domain.to(device))

    return dataclasses.replace(
        seen,
        source=lift_part(seen.source),
        target=dataclasses.replace(seen.target, x=lift(seen.target.x)),
        few=lift_part(seen.few),
        source_val=lift_part(seen.source_val),
        words=None if seen.words is None else seen.words.to(device=device, dtype=torch.float64),
    )


def standardised(seen: Seen, units: Units) -> Seen:
    """``seen`` with its values in ``units``: what depends on their size by constants of its own no longer does."""

    def turned(part: Labeled | None) -> Labeled | None:
        return None if part is None else dataclasses.replace(part, y=units.standardise(part.y))

    return dataclasses.replace(
        seen, source=turned(seen.source), few=turned(seen.few), source_val=turned(seen.source_val)
    )
