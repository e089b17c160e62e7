"""Shallow methods on samples that stay on disk (``data.blocks``): moments in one pass, samples where those do not do.

A method whose problem is made of moments solves the same problem, so its answer is the same but for rounding. What
needs samples themselves is given as many as a sample holds (``sampled``).
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch

from dazoo.core.blocks import Blocks
from dazoo.core.errors import NonFiniteError
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.ops.rows import drawn_rows, with_every_class
from dazoo.ops.running import Running, running_moments

_KEPT: weakref.WeakKeyDictionary[Blocks, Running] = weakref.WeakKeyDictionary()


def moments_on_disk(x: Blocks) -> Running:
    """The moments of blocks (n, d); one pass, remembered for as long as the blocks live.

    Raises:
        NonFiniteError: some values are NaN or infinite.
    """
    if x not in _KEPT:
        keep_moments(x, running_moments(x.blocks()))
    return _KEPT[x]


def keep_moments(x: Blocks, found: Running) -> None:
    """Remember the moments of blocks, which another pass has found.

    Raises:
        NonFiniteError: some values are NaN or infinite.
    """
    if not bool(torch.isfinite(found.mean).all()) or not bool(torch.isfinite(found.scatter).all()):
        raise NonFiniteError(f"{x!r} holds NaN or infinite values; remove or impute these samples before adapting")
    _KEPT[x] = found


def on_disk(seen: Seen) -> bool:
    """Whether source or target stay on disk."""
    return any(isinstance(part.x, Blocks) for part in (seen.source, seen.target) if part is not None)


def in_memory(seen: Seen) -> Seen:
    """All samples as tensors."""

    def read(part: Any) -> Any:
        return replace(part, x=part.x.tensor()) if part is not None and isinstance(part.x, Blocks) else part

    return replace(
        seen, source=read(seen.source), target=read(seen.target), few=read(seen.few), source_val=read(seen.source_val)
    )


def sampled(seen: Seen, count: int, gen: torch.Generator, target: bool = True) -> Seen:
    """``count`` samples of the source and of the target, drawn without replacement, in memory.

    ``target``: whether the target is sampled too, or stays on disk as it is.
    """
    source, few = seen.source, seen.few
    if source is not None:
        rows = drawn_rows(len(source), count, gen)
        rows = rows if seen.regression else with_every_class(source.y, rows)
        source = Labeled(source.x[rows], source.y[rows], source.domain[rows])
    held = seen.source_val
    if held is not None:
        rows = drawn_rows(len(held), count, gen)
        held = Labeled(held.x[rows], held.y[rows], held.domain[rows])
    shown = seen.target
    if target and len(shown):
        rows = drawn_rows(len(shown), count, gen)
        shown = Unlabeled(shown.x[rows], None if shown.domain is None else shown.domain[rows])
    if few is not None and isinstance(few.x, Blocks):
        few = replace(few, x=few.x.tensor())
    return replace(seen, source=source, target=shown, few=few, source_val=held)
