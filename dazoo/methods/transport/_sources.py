"""Several sources, told apart by ``Seen.source.domain``."""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.core.errors import DazooError
from dazoo.core.types import Seen
from dazoo.methods.shallow import source_of


def rows_of_sources(seen: Seen) -> list[Tensor]:
    """The rows of ``seen.source`` that belong to each source, in the order of their index."""
    domain = source_of(seen).domain
    rows = [torch.nonzero(domain == k)[:, 0] for k in torch.unique(domain)]
    if len(rows) < 2:
        raise DazooError("this method needs at least two sources, but the task shows one; add another source domain")
    return rows
